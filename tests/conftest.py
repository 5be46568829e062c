"""What every test may ask for: people with names, and an API client signed in as one of them."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("STUDIO_SECRET_KEY", "only-for-tests")
os.environ.setdefault("STUDIO_DATA_DIR", tempfile.mkdtemp(prefix="athanor-tests-"))
Path(os.environ["STUDIO_DATA_DIR"], "static").mkdir(exist_ok=True)  # WhiteNoise looks for it
if not Path("/dev/nvidia0").exists():
    # Triton reads it once, when something first imports it: without a GPU its kernels are run by
    # its interpreter.
    os.environ.setdefault("TRITON_INTERPRET", "1")


_HOMES = {"deploy": "deploy", "journey": "journeys"}
"""Where `make` looks for tests of a mark: reading all of them takes half a minute."""

# Without one of these, or the mark that asks for them, pytest-django refuses every query.
_DATABASE_FIXTURES = {"db", "transactional_db", "django_db_setup", "live_server"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out on PostgreSQL what the same run on SQLite shows as well, and refuse transactional
    tests that lose the rows of the migrations for those after them."""
    if os.environ.get("STUDIO_DATABASE_URL", "").startswith("postgres"):
        left_out = [item for item in items if not _may_vary_by_database(item)]
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]
        config.hook.pytest_deselected(items=left_out)
    for item in items:
        for mark, folder in _HOMES.items():
            if item.get_closest_marker(mark) and folder not in item.path.parts:
                raise pytest.UsageError(f"{item.nodeid}: {mark} tests are looked for in {folder}/")
        for mark in item.iter_markers("django_db"):
            if mark.kwargs.get("transaction") and not mark.kwargs.get("serialized_rollback"):
                raise pytest.UsageError(f"{item.nodeid}: add serialized_rollback=True")


def _may_vary_by_database(item: pytest.Item) -> bool:
    if item.get_closest_marker("one_database"):
        return False
    names = set(getattr(item, "fixturenames", ()))
    return item.get_closest_marker("django_db") is not None or bool(names & _DATABASE_FIXTURES)


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
