"""Where a studio keeps its things, and what its parts may know."""

import stat
from pathlib import Path

import pytest

from studio.up.places import BadSetting, Places, find_places, make_places


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "8600.0"])
def test_a_bad_port_is_refused_by_name(monkeypatch, port):
    monkeypatch.setenv("ATHANOR_PORT", port)
    with pytest.raises(BadSetting, match="ATHANOR_PORT .* write a port from 1 to 65535"):
        find_places()


def test_an_empty_setting_is_the_default(monkeypatch):
    monkeypatch.setenv("ATHANOR_PORT", "")
    assert find_places().port == 8600


def test_a_data_directory_that_cannot_be_made_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSetting, match="ATHANOR_DATA: cannot use"):
        make_places(Places(data_dir=tmp_path / "file" / "data", port=1))


def test_the_secret_key_is_kept_and_for_its_owner_only(tmp_path):
    places = Places(data_dir=tmp_path, port=1)
    make_places(places)
    first = places.secret_key_file.read_text()
    make_places(places)
    assert places.secret_key_file.read_text() == first
    assert len(first) >= 50
    assert stat.S_IMODE(places.secret_key_file.stat().st_mode) == 0o600


def test_a_deep_data_directory_still_has_a_usable_socket(tmp_path):
    deep = Places(data_dir=tmp_path / ("d" * 120), port=1)
    other = Places(data_dir=tmp_path / ("e" * 120), port=1)
    assert len(str(deep.redis_socket)) < 108
    assert deep.redis_socket != other.redis_socket


def test_a_node_learns_no_secret_of_the_studio(monkeypatch, tmp_path):
    monkeypatch.setenv("STUDIO_DATABASE_URL", "postgres://studio:secret@db/studio")
    monkeypatch.setenv("STUDIO_SECRET_KEY", "a key")
    places = Places(data_dir=tmp_path, port=1)
    env = places.node_env()
    assert not [name for name in env if name.startswith(("STUDIO_", "DJANGO_"))]
    assert str(places.secret_key_file) not in env.values()
    assert env["ATHANOR_NODE_TOKEN_FILE"] == str(places.node_token_file)


def test_another_redis_is_used_where_one_is_named(monkeypatch):
    monkeypatch.setenv("STUDIO_REDIS_URL", "redis://cache:6379/0")
    places = Places(data_dir=Path("/nowhere"), port=1)
    assert not places.brings_redis
    assert places.node_env()["ATHANOR_BROKER_URL"] == "redis://cache:6379/0"
