"""A node's settings are right or the node does not start."""

from pathlib import Path

import pytest

from workers.config import read_config
from workers.errors import WorkerError

GOOD = {
    "ATHANOR_STUDIO_URL": "http://127.0.0.1:8600/",
    "ATHANOR_NODE_TOKEN": "node_abc",
    "ATHANOR_BROKER_URL": "redis+socket:///run/redis.sock",
    "ATHANOR_NODE_NAME": "local",
    "ATHANOR_NODE_DIR": "/srv/athanor",
}


def test_good_settings_are_read() -> None:
    config = read_config(GOOD)
    assert config.studio_url == "http://127.0.0.1:8600"
    assert config.node_dir == Path("/srv/athanor")


def test_other_engines_are_named_by_the_node() -> None:
    assert read_config(GOOD).model_servers == ()
    servers = "http://one:8000/v1, https://two/v1"
    config = read_config(
        GOOD | {"ATHANOR_LMDEPLOY_DIR": "/opt/lmdeploy", "ATHANOR_MODEL_SERVERS": servers}
    )
    assert config.lmdeploy_dir == Path("/opt/lmdeploy")
    assert config.model_servers == ("http://one:8000/v1", "https://two/v1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "") for name in GOOD),
        ("ATHANOR_STUDIO_URL", "studio.example.org"),
        ("ATHANOR_STUDIO_URL", "ftp://studio"),
        ("ATHANOR_NODE_TOKEN", "ath_personal"),
        ("ATHANOR_BROKER_URL", "amqp://broker"),
        ("ATHANOR_BROKER_URL", "localhost:6379"),
        ("ATHANOR_NODE_NAME", "no spaces"),
        ("ATHANOR_NODE_NAME", "../up"),
        ("ATHANOR_NODE_DIR", "relative/path"),
        ("ATHANOR_NODE_HOST", "http://node"),
        ("ATHANOR_NODE_HOST", "node:8600"),
        ("ATHANOR_NODE_CACHE_GIB", "many"),
        ("ATHANOR_NODE_CACHE_GIB", "-1"),
        ("ATHANOR_LMDEPLOY_DIR", "lmdeploy"),
        ("ATHANOR_MODEL_SERVERS", "10.0.0.5:8000/v1"),
    ],
)
def test_a_bad_setting_is_refused_by_name_with_its_mend(name: str, value: str) -> None:
    with pytest.raises(WorkerError, match=rf"^{name} .*: write .*\.$"):
        read_config(GOOD | {name: value})


def test_the_token_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("node_from_file\n")
    env = GOOD | {"ATHANOR_NODE_TOKEN": "", "ATHANOR_NODE_TOKEN_FILE": str(tmp_path / "token")}
    assert read_config(env).node_token == "node_from_file"


def test_a_missing_token_file_is_named() -> None:
    with pytest.raises(WorkerError, match="ATHANOR_NODE_TOKEN_FILE cannot be read"):
        read_config(GOOD | {"ATHANOR_NODE_TOKEN_FILE": "/does/not/exist"})


def test_a_refused_setting_never_shows_the_broker_password() -> None:
    with pytest.raises(WorkerError) as caught:
        read_config(GOOD | {"ATHANOR_BROKER_URL": "http://:s3cret@broker"})
    assert "s3cret" not in str(caught.value)
