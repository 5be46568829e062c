"""Turns of a conversation, streamed by the running studio from a server that is really served."""

import json
from collections.abc import Iterator

import httpx
import pytest

from studio.playground.models import Conversation, Message
from studio.serving.selectors import get_context_tokens
from tests.live import wait_for
from tests.studio.serving.deployed import push_adapter

URL = "/api/playground/conversations/"
ASK = {"prompt": "hi", "models": ["athanor/tiny"], "temperature": 0, "max_tokens": 9, "seed": 3}


@pytest.fixture
def client(client_of, alice, server) -> httpx.Client:
    return client_of(alice)


def begin(client: httpx.Client) -> str:
    return client.post(URL, json={}).json()["id"]


def ask(client: httpx.Client, conversation: str, **wish) -> list[tuple[str, dict]]:
    answer = client.post(f"{URL}{conversation}/turns/", json=ASK | wish)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/event-stream"
    return list(parse(iter(answer.text.split("\n"))))


def parse(lines: Iterator[str]) -> Iterator[tuple[str, dict]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def names(events: list[tuple[str, dict]]) -> list[str]:
    return [name for name, _ in events]


def test_an_answer_streams_and_is_kept(client, server):
    conversation = begin(client)
    events = ask(client, conversation, system="Be brief.")
    assert names(events) == ["status", "status", "delta", "delta", "delta", "done", "end"]
    assert [body["state"] for name, body in events if name == "status"] == ["waiting", "generating"]
    kept = client.get(f"{URL}{conversation}/").json()
    assert kept["title"] == "hi"
    assert kept["settings"]["models"] == ["athanor/tiny"]
    prompt, answer = kept["messages"]
    assert (prompt["role"], prompt["content"], prompt["turn"]) == ("user", "hi", 1)
    assert (answer["content"], answer["state"]) == ("Be well.", "complete")
    assert (answer["num_prompt_tokens"], answer["num_tokens"]) == (7, 3)
    assert answer["first_token_ms"] > 0 and answer["tokens_per_s"] > 0
    assert events[-2][1]["message"] == answer
    asked = server.chats[0]
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    assert (asked["temperature"], asked["max_tokens"], asked["seed"]) == (0, 9, 3)


def test_a_small_models_window_leaves_room_for_the_question(client, alice, server):
    """Its server refuses an answer that may be longer than the window, whatever it would be."""
    conversation = begin(client)
    ask(client, conversation, max_tokens=8192)
    push_adapter(alice, "tuned", base="athanor/tiny")
    ask(client, conversation, models=["alice/tuned"], max_tokens=8192)
    window = get_context_tokens(alice, "athanor/tiny")
    assert window is not None and window < 8192
    assert [asked["max_tokens"] for asked in server.chats] == [window // 2] * 2
    kept = client.get(f"{URL}{conversation}/").json()
    assert kept["settings"]["max_tokens"] == 8192


def test_each_side_sees_its_own_history(client, alice, server):
    tuned = push_adapter(alice, "tuned", base="athanor/tiny")
    conversation = begin(client)
    both = {"models": ["athanor/tiny", "alice/tuned"]}
    server.words = ["first"]
    events = ask(client, conversation, **both)
    assert names(events).count("done") == 2
    Message.objects.filter(side=1, role="assistant").update(content="tuned answer")
    ask(client, conversation, prompt="again", **both)
    by_model = {chat["model"]: chat["messages"] for chat in server.chats[2:]}
    assert [m["content"] for m in by_model[server.base]] == ["hi", "first", "again"]
    assert [m["content"] for m in by_model[f"alice/tuned@{tuned.sha}"]] == [
        "hi",
        "tuned answer",
        "again",
    ]


def test_who_leaves_stops_the_answer_and_what_has_come_is_kept(client, server):
    server.holds_after = 2
    conversation = begin(client)
    with client.stream("POST", f"{URL}{conversation}/turns/", json=ASK) as answer:
        events = parse(answer.iter_lines())
        while next(events)[1].get("text") != " well":
            pass
    wait_for("the model server to see its reader leave", lambda: server.num_left == 1, timeout_s=10)
    message = wait_for(
        "the partial answer to be kept",
        lambda: Message.objects.filter(role="assistant").first(),
        timeout_s=10,
    )
    assert (message.content, message.state) == ("Be well", "stopped")
    server.holds_after = None
    ask(client, conversation, prompt="go on")
    assert [m["content"] for m in server.chats[-1]["messages"]] == ["hi", "Be well", "go on"]


def test_a_side_that_fails_leaves_the_other_be(client, server):
    conversation = begin(client)
    events = ask(client, conversation, models=["athanor/tiny", "athanor/none"])
    errors = [body for name, body in events if name == "error"]
    assert [(body["side"], body["code"]) for body in errors] == [(1, "model_not_found")]
    assert [body["side"] for name, body in events if name == "done"] == [0]
    states = list(Message.objects.filter(role="assistant").values_list("side", "state"))
    assert sorted(states) == [(0, "complete"), (1, "failed")]


def test_a_server_that_dies_fails_the_answer_and_keeps_its_beginning(client, server):
    server.dies_after = 2
    events = ask(client, begin(client))
    assert names(events)[-2:] == ["error", "end"]
    message = Message.objects.get(role="assistant")
    assert (message.content, message.state) == ("Be well", "failed")
    assert "does not answer" in message.error


def test_a_conversation_deleted_meanwhile_keeps_nothing(client, server):
    server.holds_after = 1
    conversation = begin(client)
    with client.stream("POST", f"{URL}{conversation}/turns/", json=ASK) as answer:
        events = parse(answer.iter_lines())
        while next(events)[0] != "delta":
            pass
        Conversation.objects.all().delete()
    wait_for("the model server to see its reader leave", lambda: server.num_left == 1, timeout_s=10)
    assert not Message.objects.exists()


def test_a_strangers_conversation_is_not_there(client, client_of, carol):
    conversation = begin(client)
    stranger = client_of(carol)
    url = f"{URL}{conversation}/"
    answers = [
        stranger.get(url),
        stranger.patch(url, json={"title": "mine"}),
        stranger.delete(url),
        stranger.post(f"{url}turns/", json=ASK),
    ]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert {answer.json()["code"] for answer in answers} == {"not_found"}
    assert not Message.objects.exists()
    assert stranger.get(URL).json()["count"] == 0


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"models": []}, "models"),
        ({"models": ["a/b"] * 5}, "models"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_k": 3}, "top_k"),
    ],
)
def test_a_bad_wish_names_its_field(client, wish, field):
    answer = client.post(f"{URL}{begin(client)}/turns/", json=ASK | wish)
    assert answer.status_code == 400
    assert answer.json()["field"] == field


def test_turns_ask_for_the_chat_scope(client, client_of, alice):
    conversation = begin(client)
    writer = client_of(alice, ["write"])
    assert writer.post(f"{URL}{conversation}/turns/", json=ASK).status_code == 403
    assert httpx.post(f"{client.base_url}{URL}{conversation}/turns/", json=ASK).status_code == 401


def test_models_say_whether_they_are_ready(client, alice):
    push_adapter(alice, "tuned", base="athanor/tiny")
    models = client.get("/api/playground/models/").json()
    assert [(m["id"], m["base"], m["is_adapter"], m["deployment_status"]) for m in models] == [
        ("athanor/tiny", None, False, "ready"),
        ("alice/tuned", "athanor/tiny", True, "ready"),
    ]
