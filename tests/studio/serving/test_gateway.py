"""The OpenAI-compatible gateway against a model server that is really served."""

import gc
import json
import threading

import httpx
import openai
import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from studio.hub.models import Repo
from studio.serving import gateway
from studio.serving.models import Deployment, DeploymentStatus, Use, UseState
from tests.live import wait_for
from tests.studio.asgi import make_token
from tests.studio.serving.deployed import push_adapter, push_model

ASK = {"model": "athanor/tiny", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def openai_of(studio):
    """`openai_of(user)` is OpenAI's own client, signed in as the user."""

    def sign_in(user) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{studio}/v1", api_key=make_token(user), max_retries=0)

    return sign_in


def test_openais_client_chats(openai_of, alice, server):
    answer = openai_of(alice).chat.completions.create(**ASK)
    assert answer.choices[0].message.content == "Be well."
    assert answer.model == "athanor/tiny"
    assert server.chats[0]["model"] == server.base


def test_openais_client_streams(openai_of, alice, server):
    stream = openai_of(alice).chat.completions.create(
        **ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert said == ["Be", " well", "."]
    assert {chunk.model for chunk in chunks} == {"athanor/tiny"}
    assert chunks[-1].usage.completion_tokens == 3


def test_a_word_is_passed_on_before_the_next_is_made(client_of, alice, server):
    server.holds_after = 1
    with client_of(alice).stream("POST", "/v1/chat/completions", json=ASK | {"stream": True}) as r:
        first = next(line for line in r.iter_lines() if line)
    assert json.loads(first.removeprefix("data: "))["choices"][0]["delta"]["content"] == "Be"


def count_open_connections() -> int:
    """The database connections of all threads of this process: the studio is served in one."""
    # By type: `isinstance` asks a weak proxy, and what it stands for may be gone.
    found = [each for each in gc.get_objects() if issubclass(type(each), BaseDatabaseWrapper)]
    return sum(wrapper.connection is not None for wrapper in found)


def test_an_answer_under_way_holds_no_database_connection(client_of, alice, server):
    server.holds_after = 1
    client = client_of(alice)
    before = count_open_connections()
    with client.stream("POST", "/v1/chat/completions", json=ASK | {"stream": True}) as answer:
        lines = answer.iter_lines()  # held: a generator that is dropped closes the answer
        assert next(lines).startswith("data:")
        assert count_open_connections() == before


def test_whoever_has_read_a_streams_end_finds_its_use_on_record(client_of, alice, server):
    with client_of(alice).stream("POST", "/v1/chat/completions", json=ASK | {"stream": True}) as r:
        lines = (line for line in r.iter_lines() if line)
        while next(lines) != "data: [DONE]":
            assert not Use.objects.exists()
        assert Use.objects.get().state == UseState.COMPLETE
        assert next(lines, None) is None


def test_a_reader_who_leaves_frees_the_server(client_of, alice, server):
    server.holds_after = 1
    with client_of(alice).stream("POST", "/v1/chat/completions", json=ASK | {"stream": True}) as r:
        next(line for line in r.iter_lines() if line)
    wait_for("the model server to see its reader leave", lambda: server.num_left == 1, timeout_s=10)


def test_a_server_that_dies_in_mid_answer_is_told(client_of, alice, server):
    server.dies_after = 1
    answer = client_of(alice).post("/v1/chat/completions", json=ASK | {"stream": True})
    events = [line for line in answer.text.split("\n") if line]
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "model_unreachable"
    assert "[DONE]" not in answer.text


def test_an_adapter_is_loaded_once_and_answers_under_its_own_name(client_of, alice, server):
    sha = push_adapter(alice, "tuned", base="athanor/tiny").sha
    body = ASK | {"model": "alice/tuned"}
    client = client_of(alice)
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(client.post("/v1/chat/completions", json=body))
        )
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [result.status_code for result in results] == [200] * 5
    assert {result.json()["model"] for result in results} == {"alice/tuned"}
    assert server.loads == [f"alice/tuned@{sha}"]
    assert {chat["model"] for chat in server.chats} == {f"alice/tuned@{sha}"}
    assert Deployment.objects.get().adapters == [f"alice/tuned@{sha}"]


def test_an_older_revision_is_another_adapter(client_of, alice, server):
    old = push_adapter(alice, "tuned", base="athanor/tiny").sha
    new = push_model(alice, "tuned", files={"notes.txt": b"again"}).sha
    client = client_of(alice)
    for model in (f"alice/tuned@{old[:12]}", "alice/tuned"):
        answer = client.post("/v1/chat/completions", json=ASK | {"model": model})
        assert answer.json()["model"] == model
    assert server.loads == [f"alice/tuned@{old}", f"alice/tuned@{new}"]


def test_an_adapter_that_the_server_forgot_is_loaded_again(client_of, alice, server):
    push_adapter(alice, "tuned", base="athanor/tiny")
    client = client_of(alice)
    body = ASK | {"model": "alice/tuned"}
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    server.adapters.clear()
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    assert len(server.loads) == 2


def test_an_adapter_that_does_not_fit_is_refused_in_the_servers_words(client_of, alice, server):
    push_adapter(alice, "broken", base="athanor/tiny")
    answer = client_of(alice).post("/v1/chat/completions", json=ASK | {"model": "alice/broken"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "It does not fit."


def test_what_the_server_does_not_support_is_passed_on(client_of, alice, server):
    answer = client_of(alice).post("/v1/chat/completions", json=ASK | {"logit_bias": {"1": 2}})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "logit_bias is not supported."


def test_a_strangers_model_is_not_there(client_of, alice, carol, server):
    push_adapter(alice, "tuned", base="athanor/tiny")
    answer = client_of(carol).post("/v1/chat/completions", json=ASK | {"model": "alice/tuned"})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert server.chats == [] and server.loads == []
    shown = {model["id"] for model in client_of(carol).get("/v1/models").json()["data"]}
    assert shown == {"athanor/tiny"}
    assert client_of(carol).get("/v1/models/alice/tuned").status_code == 404


def test_an_adapter_of_a_strangers_base_is_not_served(client_of, alice, carol, server):
    push_model(alice, "secret", visibility="private")
    push_adapter(carol, "spy", base="alice/secret")
    answer = client_of(carol).post("/v1/chat/completions", json=ASK | {"model": "carol/spy"})
    assert answer.status_code == 404
    assert "alice/secret@main, which is not in this hub or not yours" in answer.text


def test_models_name_their_base(client_of, alice, server):
    push_adapter(alice, "tuned", base="athanor/tiny")
    models = client_of(alice).get("/v1/models").json()["data"]
    assert [(model["id"], model["parent"]) for model in models] == [
        ("athanor/tiny", None),
        ("alice/tuned", "athanor/tiny"),
    ]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"Authorization": "Bearer ath_wrong"}, 401)],
)
def test_nobody_chats_without_signing_in(studio, client_of, alice, server, headers, status):
    client = client_of(alice)
    client.headers.pop("Authorization")
    answer = client.post("/v1/chat/completions", json=ASK, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "authentication_error"


def test_a_token_without_the_scope_does_not_chat(client_of, alice, server):
    answer = client_of(alice, ["read"]).post("/v1/chat/completions", json=ASK)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "scope_missing"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "not an object"),
        (b'{"model": "a/b", "messages": [{"role": "user", "content": "\\ud83d"}]}', "surrogate"),
        (b'{"model": "a/b\\u0000"}', "NUL"),
        (b'{"model": "a/b", "temperature": NaN}', "NaN"),
        (b"{}", "model is missing"),
        (b'{"model": 3}', "model is missing"),
    ],
)
def test_a_body_that_is_none_gets_one_sentence(client_of, alice, server, content, said):
    answer = client_of(alice).post("/v1/chat/completions", content=content)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_a_model_without_a_server_gets_one_and_says_that_it_starts(
    client_of, alice, tiny, monkeypatch
):
    monkeypatch.setattr(gateway, "READY_WITHIN_S", 0.2)
    answer = client_of(alice).post("/v1/chat/completions", json=ASK)
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    assert answer.json()["error"]["code"] == "model_starting"
    deployment = Deployment.objects.get()
    assert deployment.job.is_platform and deployment.job.kind == "serve"
    assert deployment.job.spec["model"] == f"athanor/tiny@{tiny.sha}"
    assert deployment.asked_by == alice


def test_a_request_waits_until_the_server_is_up(client_of, alice, server):
    Deployment.objects.update(status=DeploymentStatus.STARTING)
    results = []
    client = client_of(alice)
    thread = threading.Thread(
        target=lambda: results.append(client.post("/v1/chat/completions", json=ASK))
    )
    thread.start()
    assert server.chats == []
    Deployment.objects.update(status=DeploymentStatus.READY)
    thread.join(30)
    assert results[0].status_code == 200


def test_a_server_that_failed_to_start_says_why(client_of, alice, server):
    Deployment.objects.update(status=DeploymentStatus.STARTING)
    results = []
    client = client_of(alice)
    thread = threading.Thread(
        target=lambda: results.append(client.post("/v1/chat/completions", json=ASK))
    )
    thread.start()
    Deployment.objects.update(
        status=DeploymentStatus.FAILED,
        message="It needed more memory than it has.",
        ended_at=timezone.now(),
    )
    thread.join(30)
    assert results[0].status_code == 503
    assert "It needed more memory than it has." in results[0].json()["error"]["message"]


def test_a_server_that_is_gone_is_told_as_such(client_of, alice, server):
    Deployment.objects.update(url="http://127.0.0.1:9")
    answer = client_of(alice).post("/v1/chat/completions", json=ASK)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "model_unreachable"


def test_an_edited_card_needs_no_second_server(client_of, alice, server, tiny):
    adapter = push_adapter(alice, "tuned", base="athanor/tiny")
    push_model(tiny.repo.owner, "tiny", files={"README.md": b"# Tiny, told better\n"})
    Deployment.objects.update(revision=_head_of("athanor/tiny"))
    answer = client_of(alice).post(
        "/v1/chat/completions", json=ASK | {"model": f"athanor/tiny@{tiny.sha}"}
    )
    assert answer.status_code == 200, adapter
    assert Deployment.objects.count() == 1


def test_a_browsers_session_needs_its_csrf_token(studio, alice, server, client):
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    cookies = {"athanor_session": client.cookies["athanor_session"].value}
    bare = httpx.post(f"{studio}/v1/chat/completions", json=ASK, cookies=cookies)
    assert bare.status_code == 403
    token = "a" * 32
    good = httpx.post(
        f"{studio}/v1/chat/completions",
        json=ASK,
        cookies=cookies | {"csrftoken": token},
        headers={"X-CSRFToken": token, "Origin": studio},
    )
    assert good.status_code == 200, good.text


def _head_of(repo_id: str) -> str:
    return Repo.objects.get(name=repo_id.partition("/")[2]).head.sha
