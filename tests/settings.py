"""The studio's settings as the tests use them: their own key, and data that goes away.

pytest-django reads settings before any conftest, so their environment is made here.
"""

import os
import tempfile

os.environ.setdefault("STUDIO_SECRET_KEY", "only-for-tests")
os.environ.setdefault("STUDIO_DATA_DIR", tempfile.mkdtemp(prefix="athanor-tests-"))

from studio.settings import *  # noqa: E402, F403
