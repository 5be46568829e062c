"""A studio that may be broken, and its people."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.owner import Owner, import_tiny_model, make_owner
from tests.faults.parts import Process, make_redis
from tests.live import LiveStudio, run_studio


@pytest.fixture(scope="package")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A Redis of the tests' own: the studio's parent would start its Redis again at once."""
    redis = make_redis(tmp_path_factory.mktemp("redis"))
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture(scope="package")
def redis_socket(redis: Process) -> Path:
    return redis.log.with_name("redis.sock")


@pytest.fixture(scope="package")
def furnace(redis_socket: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStudio]:
    """One studio for all fault tests; each leaves it whole again."""
    data_dir = tmp_path_factory.mktemp("furnace")
    with run_studio(data_dir, STUDIO_REDIS_URL=f"unix://{redis_socket}") as studio:
        import_tiny_model(studio, tmp_path_factory.mktemp("tiny"))
        yield studio


@pytest.fixture(scope="package")
def alice(furnace: LiveStudio) -> Owner:
    return make_owner(furnace, "alice")


@pytest.fixture(scope="package")
def carol(furnace: LiveStudio) -> Owner:
    return make_owner(furnace, "carol")
