"""What the tests of the gateway share: a running studio, and a base model with a fake server."""

import httpx
import pytest

from studio.asgi import application
from tests.factories import make_user
from tests.studio.asgi import make_token, run_app
from tests.studio.hub.conftest import hub_dir
from tests.studio.serving.deployed import deployed, push_model

__all__ = ["hub_dir"]


@pytest.fixture
def studio(django_db_serialized_rollback, transactional_db, settings):
    """Address of a running studio."""
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    with run_app(application) as url:
        yield url


@pytest.fixture
def client_of(studio):
    """`client_of(user)` is an HTTP client with the user's token."""

    def sign_in(user, scopes=None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {make_token(user, scopes)}"}
        return httpx.Client(base_url=studio, headers=headers, timeout=30)

    return sign_in


@pytest.fixture
def tiny(studio):
    """The commit of a public base model, `athanor/tiny`."""
    return push_model(make_user("athanor"), "tiny")


@pytest.fixture
def server(tiny):
    """The fake server of `athanor/tiny`."""
    with deployed(tiny) as server:
        yield server
