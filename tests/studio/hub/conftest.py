"""What the hub's tests share: a folder of its own for bytes, and a studio that clients can call."""

import secrets

import pytest
from huggingface_hub import HfApi

from studio.asgi import application
from tests.studio.asgi import make_token, run_app


@pytest.fixture(autouse=True)
def hub_dir(settings, tmp_path):
    """Bytes of one test are not another's."""
    settings.HUB_DIR = tmp_path / "hub"
    return settings.HUB_DIR


@pytest.fixture
def hub(django_db_serialized_rollback, transactional_db, settings):
    """Address of a running hub; rows that migrations made are there in each test."""
    settings.ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
    # Clients remember a hub's chunks by its address and its name, which the key makes: a later
    # test's hub at a port that comes again is another.
    settings.SECRET_KEY = secrets.token_hex()
    with run_app(application) as url:
        yield url


@pytest.fixture
def client_of(hub):
    """`client_of(user)` is Hugging Face's own client, signed in as the user."""

    def sign_in(user, scopes=None) -> HfApi:
        return HfApi(endpoint=hub, token=make_token(user, scopes))

    return sign_in
