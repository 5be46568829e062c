"""A one-time token turns one machine into a node: once, in its time, under a name that is free."""

import threading
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from studio.compute.joining import BadJoinToken, join_node, make_join_token
from studio.compute.models import JoinToken, Node
from studio.compute.services import NodeRemoved, read_node_token
from studio.compute.upkeep import remove_node
from studio.core.errors import Conflict
from tests.factories import make_node

pytestmark = pytest.mark.django_db
TOKENS = "/api/node-join-tokens/"
JOIN = "/api/internal/nodes/join/"


def join(api, token, name="lab-9", **fields):
    return api().post(JOIN, {"token": token, "name": name} | fields, format="json")


def test_an_administrator_s_token_lets_one_machine_in(api, adam, settings):
    settings.NODE_BROKER_URL = "redis://queue:6379/0"
    made = api(adam).post(TOKENS, {}, format="json")
    assert made.status_code == 201 and made.json()["made_by"] == "adam"
    token = made.json()["token"]
    assert made.json()["command"].startswith("athanor node join http")
    assert token in made.json()["command"]
    welcome = join(api, token).json()
    assert (welcome["name"], welcome["broker_url"]) == ("lab-9", "redis://queue:6379/0")
    assert read_node_token(welcome["node_token"]).name == "lab-9"
    assert api(adam).get(TOKENS).json() == []


def test_the_token_is_kept_as_a_hash_only(adam):
    raw, _ = make_join_token(by=adam)
    assert raw not in str(JoinToken.objects.values().get())


def test_it_works_once(api, adam):
    raw, _ = make_join_token(by=adam)
    assert join(api, raw, "first").status_code == 200
    again = join(api, raw, "second")
    assert (again.status_code, again.json()["code"]) == (403, "join_token_used")
    assert "works once" in again.json()["message"]
    assert list(Node.objects.values_list("name", flat=True)) == ["first"]


def test_a_trial_uses_nothing_up(api, adam):
    raw, _ = make_join_token(by=adam)
    tried = join(api, raw, is_trial=True)
    assert tried.json()["node_token"] == "" and not Node.objects.exists()
    assert join(api, raw).status_code == 200


def test_a_token_whose_time_is_over_lets_nobody_in(api, adam):
    raw, token = make_join_token(by=adam)
    JoinToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert join(api, raw).json()["code"] == "join_token_expired"
    assert not Node.objects.exists()
    assert api(adam).get(TOKENS).json() == []


@pytest.mark.parametrize("token", ["join_wrong", "node_wrong", "x"])
def test_what_is_no_token_lets_nobody_in(api, token):
    assert join(api, token).json()["code"] == "unknown_join_token"


@pytest.mark.parametrize(
    ("name", "code"),
    [("lab-1", "node_name_taken"), ("LAB-1", "node_name_taken"), ("-x", "bad_node_name")]
    + [("a b", "bad_node_name"), ("", "bad_node_name"), ("x" * 64, "bad_node_name")],
)
def test_a_name_that_cannot_be_leaves_the_token_as_it_was(api, adam, name, code):
    make_node("lab-1")
    raw, _ = make_join_token(by=adam)
    refused = join(api, raw, name)
    assert (refused.json()["code"], refused.json()["field"]) == (code, "name")
    assert join(api, raw, "lab-2").status_code == 200


def test_a_token_may_be_for_one_name_alone(api, adam):
    raw, _ = make_join_token(by=adam, name="lab-7")
    assert join(api, raw, "lab-8").json()["code"] == "join_name_fixed"
    assert join(api, raw, "").json()["name"] == "lab-7"
    with pytest.raises(Conflict):
        make_join_token(by=adam, name="lab-7")


def test_a_revoked_token_lets_nobody_in(api, adam):
    raw, token = make_join_token(by=adam)
    assert [each["id"] for each in api(adam).get(TOKENS).json()] == [token.pk]
    assert api(adam).delete(f"{TOKENS}{token.pk}/").status_code == 204
    assert api(adam).delete(f"{TOKENS}{token.pk}/").status_code == 404
    assert join(api, raw).json()["code"] == "unknown_join_token"


def test_a_name_that_was_removed_is_free_again(adam):
    raw, _ = make_join_token(by=adam)
    first = join_node(raw=raw, name="lab-1").node_token
    remove_node(by=adam, name="lab-1")
    with pytest.raises(NodeRemoved):
        read_node_token(first)
    raw, _ = make_join_token(by=adam)
    second = join_node(raw=raw, name="lab-1").node_token
    assert not read_node_token(second).is_cordoned
    assert Node.objects.count() == 1


def test_nobody_else_makes_or_sees_tokens(api, carol, olga, adam):
    _, token = make_join_token(by=adam)
    for client in (api(carol), api(olga)):
        assert client.get(TOKENS).status_code == 404
        assert client.post(TOKENS, {}, format="json").status_code == 404
        assert client.delete(f"{TOKENS}{token.pk}/").status_code == 404
    assert api().post(TOKENS, {}, format="json").status_code in {401, 403}


@pytest.mark.parametrize(
    ("body", "field"), [({"lasts_s": 1}, "lasts_s"), ({"name": "a b"}, "name"), ({"x": 1}, "x")]
)
def test_a_bad_wish_names_its_field(api, adam, body, field):
    refused = api(adam).post(TOKENS, body, format="json")
    assert (refused.status_code, refused.json()["field"]) == (400, field)


def test_the_shell_makes_one_too():
    out = StringIO()
    call_command("node_join_token", "--name", "lab-3", stdout=out)
    words = out.getvalue().split()
    assert join_node(raw=words[words.index("--token") + 1], name="").name == "lab-3"
    with pytest.raises(CommandError, match="lab-3"):
        call_command("node_join_token", "--name", "lab-3")


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_of_many_at_once_exactly_one_gets_in():
    raw, _ = make_join_token(by=None)
    barrier, told = threading.Barrier(4), []

    def run(name: str) -> None:
        try:
            barrier.wait()
            told.append(join_node(raw=raw, name=name).name)
        except BadJoinToken as error:
            told.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[f"lab-{n}"]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told)[:3] == ["join_token_used"] * 3
    assert [node.name for node in Node.objects.all()] == [sorted(told)[3]]
