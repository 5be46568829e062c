"""The studio's settings as the tests use them: their own key, and data that goes away.

pytest-django reads settings before any conftest, so their environment is made here.
"""

import os
import tempfile

os.environ.setdefault("STUDIO_SECRET_KEY", "only-for-tests")
os.environ.setdefault("STUDIO_DATA_DIR", tempfile.mkdtemp(prefix="athanor-tests-"))

from studio.settings import *  # noqa: E402, F403
from studio.settings import DATA_DIR, DATABASES  # noqa: E402

# Tests with real threads need a database that threads share: a file, not SQLite's memory.
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": DATA_DIR / "test.sqlite3"}
# Every test makes its people; a password that only a test knows needs no slow hash.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
