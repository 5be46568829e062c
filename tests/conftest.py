"""What every test may ask for: people with names, and an API client signed in as one of them."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("STUDIO_SECRET_KEY", "only-for-tests")
os.environ.setdefault("STUDIO_DATA_DIR", tempfile.mkdtemp(prefix="athanor-tests-"))
Path(os.environ["STUDIO_DATA_DIR"], "static").mkdir(exist_ok=True)  # WhiteNoise looks for it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse transactional tests that lose the rows of the migrations for those after them."""
    for item in items:
        for mark in item.iter_markers("django_db"):
            if mark.kwargs.get("transaction") and not mark.kwargs.get("serialized_rollback"):
                raise pytest.UsageError(f"{item.nodeid}: add serialized_rollback=True")


@pytest.fixture
def alice(db):  # owns things
    from tests.factories import make_user

    return make_user("alice")


@pytest.fixture
def bob(db):  # in alice's group
    from tests.factories import make_user

    return make_user("bob")


@pytest.fixture
def carol(db):  # a stranger
    from tests.factories import make_user

    return make_user("carol")


@pytest.fixture
def olga(db):  # operates
    from tests.factories import make_user

    return make_user("olga", role="operator")


@pytest.fixture
def adam(db):  # administers
    from tests.factories import make_user

    return make_user("adam", role="administrator")


@pytest.fixture
def api() -> Callable:
    """`api(user)` is a client signed in as the user; `api()` is nobody's."""
    from rest_framework.test import APIClient

    def sign_in(user=None) -> APIClient:
        client = APIClient()
        if user is not None:
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return sign_in


@pytest.fixture(scope="session")
def live(tmp_path_factory):
    """One whole studio for all tests that only use it; a test that breaks things starts its own."""
    from tests.live import run_studio

    with run_studio(tmp_path_factory.mktemp("studio")) as studio:
        yield studio
