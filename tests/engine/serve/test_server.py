"""The server over real HTTP, asked by OpenAI's own client."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.serve.backend import EmbedFailed, Piece, Sampling
from engine.serve.door import Door
from engine.serve.metrics import Watchdog
from tests.engine.serve.scripted import FULL_SEED, Scripted
from tests.engine.serve.tiny_models import (
    DEADLINE_S,
    HELLO,
    ask,
    open_backend,
    serve_backend,
)
from tests.live import wait_for

LONG = {"max_tokens": 60, "temperature": 0.0}
MESSAGES = list(HELLO)
TOOL = {"type": "function", "function": {"name": "now"}}
STRICT_TOOL = {"type": "function", "function": {"name": "now", "strict": True}}
NO_TYPE = {"type": "objec"}
SCHEMA_OF_NO_TYPE = {"type": "json_schema", "json_schema": {"name": "a", "schema": NO_TYPE}}
NAMED = {"type": "function", "function": {"name": "then"}}
BAD_CALL = {"id": "1", "type": "function", "function": {"name": "now", "arguments": "[1]"}}
BAD_PLACE = "messages[0].tool_calls[0].function.arguments"
IMAGE = {"type": "image_url", "image_url": {"url": "data:,x"}}


@pytest.fixture(scope="module")
def backend(base, red):
    with open_backend(base, adapters=(str(red),)) as backend:
        yield backend


@pytest.fixture(scope="module")
def url(backend):
    with serve_backend(backend, token="secret") as url:
        yield url


@pytest.fixture
def client(url):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="secret", max_retries=0)


@pytest.fixture
def http(url):
    with httpx.Client(base_url=url, headers={"Authorization": "Bearer secret"}) as http:
        yield http


def test_the_models_are_listed_with_their_base(client, base, red):
    models = {model.id: model for model in client.models.list()}
    assert list(models) == [str(base), str(red)]
    assert models[str(red)].parent == str(base)


def test_an_answer_comes_whole_with_its_usage(client, backend, base):
    answer = client.chat.completions.create(model=str(base), messages=MESSAGES, **LONG)
    assert answer.choices[0].message.content == ask(
        backend, str(base), Sampling(max_tokens=60, temperature=0)
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.model == str(base)
    assert answer.usage.completion_tokens == 60
    assert answer.usage.total_tokens == 60 + answer.usage.prompt_tokens


def test_an_answer_comes_in_pieces(client, base):
    asked = {"model": str(base), "messages": MESSAGES, **LONG}
    whole = client.chat.completions.create(**asked)
    chunks = list(
        client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **asked)
    )
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole.choices[0].message.content
    assert sum(map(bool, texts)) > 10
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


async def test_base_and_adapter_stream_side_by_side(url, base, red):
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="secret")
    order: list[str] = []

    async def read(model: str) -> str:
        stream = await client.chat.completions.create(
            model=model, messages=MESSAGES, stream=True, **LONG
        )
        text = ""
        async for chunk in stream:
            order.append(model)
            text += chunk.choices[0].delta.content or ""
        return text

    alone = [await read(str(base)), await read(str(red))]
    order.clear()
    assert await asyncio.gather(read(str(base)), read(str(red))) == alone
    assert alone[0] != alone[1]
    first_half = order[: len(order) // 2]
    assert {str(base), str(red)} == set(first_half)


def test_a_stop_text_ends_the_answer_and_is_not_in_it(client, base):
    asked = {"model": str(base), "messages": MESSAGES, **LONG}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    stop = whole[5:7]
    choice = client.chat.completions.create(stop=stop, **asked).choices[0]
    assert choice.message.content == whole[: whole.index(stop)]
    assert choice.finish_reason == "stop"


def test_an_answer_can_be_given_back_as_the_client_holds_it(client, base):
    asked = {"model": str(base), "max_tokens": 5, "seed": 1}
    answer = client.chat.completions.create(messages=MESSAGES, **asked).choices[0].message
    again = [*MESSAGES, answer.model_dump(), {"role": "user", "content": "More"}]
    assert client.chat.completions.create(messages=again, **asked).usage.completion_tokens <= 5


def test_text_parts_and_plain_text_are_the_same(client, base):
    parts = [
        {"role": "user", "content": [{"type": "text", "text": part} for part in ("Hel", "lo")]}
    ]
    asked = {"model": str(base), **LONG}
    first, second = (
        client.chat.completions.create(messages=turns, **asked) for turns in (parts, MESSAGES)
    )
    assert first.choices[0].message.content == second.choices[0].message.content


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"n": 0}, "n"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
        ({"tools": [STRICT_TOOL]}, "tools[0].function.strict"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": NAMED}, "tool_choice.function.name"),
        ({"tools": [TOOL], "response_format": {"type": "json_object"}}, "response_format"),
        ({"regex": "a", "response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"logit_bias": {"hello": 1}}, "logit_bias.hello"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"top_k": -2}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"regex": "("}, "regex"),
        ({"grammar": "root ::= missing"}, "grammar"),
        ({"response_format": SCHEMA_OF_NO_TYPE}, "response_format"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "assistant"}]}, "messages[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": [BAD_CALL]}]}, BAD_PLACE),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0].type"),
        ({"messages": [*HELLO, {"role": "user", "content": 3}]}, "messages[1].content"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "name": "a"}]}, "messages[0].name"),
        ({"stream_options": {"x": 1}}, "stream_options.x"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": ["x", ""]}, "stop[1]"),
        ({"stop": ["x", "x" * 1025]}, "stop[1]"),
        ({"top_k": 2**40}, "top_k"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, None),
        ({"max_tokens": 10**6}, "messages"),
        ({"messages": [{"role": "user", "content": "x" * 10**7}]}, "messages"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(http, base, changes, param):
    body = json.dumps({"model": str(base), "messages": MESSAGES} | changes)
    answer = http.post(
        "/v1/chat/completions", content=body, headers={"Content-Type": "application/json"}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == param
    assert error["message"].count("\n") == 0


HALF = "\ud800"  # of a surrogate pair: JSON can say it, and no text can


@pytest.mark.parametrize(
    ("door", "changes", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "x", "messages": MESSAGES}, "prompt"),
        ("/tokenize", {"prompt": "x", "tools": [TOOL]}, "tools"),
        ("/tokenize", {"prompt": HALF}, None),
        ("/tokenize", {"messages": [{"role": "user", "content": HALF}]}, None),
        ("/tokenize", {"messages": MESSAGES, "tools": [TOOL] * 129}, "tools"),
        ("/tokenize", {"messages": MESSAGES, "tools": [TOOL, TOOL]}, "tools[1].function.name"),
        ("/detokenize", {"model": HALF, "tokens": [5]}, None),
        ("/detokenize", {"tokens": [5], HALF: 1}, None),
        ("/v1/load_lora_adapter", {"lora_name": HALF, "lora_path": "x"}, None),
        ("/v1/load_lora_adapter", {"lora_name": "x", "lora_path": HALF}, None),
        ("/v1/unload_lora_adapter", {"lora_name": HALF}, None),
        ("/v1/embeddings", {"input": HALF}, None),
        ("/v1/completions", {"prompt": HALF}, None),
        ("/v1/completions", {"model": HALF, "prompt": "x"}, None),
    ],
)
def test_what_the_other_doors_cannot_do_is_refused_by_name(http, base, door, changes, param):
    given = changes if "lora" in door else {"model": str(base)} | changes
    headers = {"Content-Type": "application/json"}
    answer = http.post(door, content=json.dumps(given), headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == param
    assert error["message"].endswith(".") and error["message"].count("\n") == 0


def test_settings_that_ask_for_nothing_are_taken(http, base):
    neutral = {"n": 1, "frequency_penalty": 0, "logprobs": False, "tools": None, "user": "alice"}
    stop = "a text of more than sixteen characters"
    neutral |= {"max_completion_tokens": 2}  # the same twice
    body = {"model": str(base), "messages": MESSAGES, "max_tokens": 2, "stop": stop} | neutral
    assert http.post("/v1/chat/completions", json=body).status_code == 200
    assert http.post("/v1/chat/completions", json=body | {"stop": ""}).status_code == 200


@pytest.mark.parametrize("content", [b'{"model', b"", b"[1]", b'"x"', b"{}garbage", b"\xff"])
@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}])
def test_a_body_that_is_no_json_object_is_refused(http, content, headers):
    answer = http.post("/v1/chat/completions", content=content, headers=headers)
    assert answer.status_code == 400
    assert "body" in answer.json()["error"]["message"]


def test_an_unknown_model_is_404_in_words(client):
    with pytest.raises(openai.NotFoundError, match="nobody/nothing is not served"):
        client.chat.completions.create(model="nobody/nothing", messages=MESSAGES)


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic secret", "Bearer \xfc"])
def test_without_the_token_nothing_is_told(url, header):
    headers = {"Authorization": header.encode("latin-1")} if header else {}
    with httpx.Client(base_url=url, headers=headers) as http:
        assert http.get("/v1/models").status_code == 401
        assert http.post("/v1/chat/completions", json={}).status_code == 401
        assert http.post("/v1/load_lora_adapter", json={}).status_code == 401
        assert http.get("/health").status_code == 200


def test_an_adapter_is_loaded_and_unloaded_while_serving(http, client, blue, red):
    load = {"lora_name": "me/blue@abc", "lora_path": str(blue)}
    assert http.post("/v1/load_lora_adapter", json=load).status_code == 200
    assert http.post("/v1/load_lora_adapter", json=load).status_code == 200
    taken = http.post("/v1/load_lora_adapter", json=load | {"lora_path": str(red)})
    assert (taken.status_code, taken.json()["error"]["param"]) == (400, "lora_name")
    answer = client.chat.completions.create(model="me/blue@abc", messages=MESSAGES, **LONG)
    assert answer.usage.completion_tokens > 0
    unload = {"lora_name": "me/blue@abc"}
    assert http.post("/v1/unload_lora_adapter", json=unload).status_code == 200
    assert http.post("/v1/unload_lora_adapter", json=unload).status_code == 404


def test_an_adapter_that_does_not_exist_is_refused_in_words(http):
    load = {"lora_name": "x", "lora_path": "/nowhere/at/all"}
    answer = http.post("/v1/load_lora_adapter", json=load)
    assert answer.status_code == 400
    assert "does not exist" in answer.json()["error"]["message"]


ENDLESS_BODY = {"model": "base", "messages": MESSAGES}
ENDLESS = [Piece("a", 1)]


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_reader_who_leaves_frees_the_place(is_stream):
    backend = Scripted(lambda request: ENDLESS)
    with serve_backend(backend) as url:
        async with httpx.AsyncClient(base_url=url) as http:
            asked = http.post("/v1/chat/completions", json={**ENDLESS_BODY, "stream": is_stream})
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asked, 0.5)
        assert await asyncio.to_thread(backend.aborted.wait, DEADLINE_S)


def test_a_full_queue_is_429_with_a_time_to_come_back():
    with serve_backend(Scripted()) as url:
        body = {**ENDLESS_BODY, "seed": FULL_SEED}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json()["error"]["code"] == "queue_full"


def test_an_answer_that_fails_says_so():
    backend = Scripted(lambda request: [Piece("a", 1), Piece("", 1, "error", message="Bad luck.")])
    backend.is_broken = True
    with serve_backend(backend) as url:
        whole = httpx.post(f"{url}/v1/chat/completions", json=ENDLESS_BODY)
        stream = httpx.post(f"{url}/v1/chat/completions", json={**ENDLESS_BODY, "stream": True})
        health = httpx.get(f"{url}/health")
    assert (whole.status_code, whole.json()["error"]["code"]) == (500, "failed")
    assert whole.json()["error"]["message"] == "Bad luck."
    assert "[DONE]" not in stream.text
    assert '"code":"failed"' in stream.text
    assert health.status_code == 503


def test_health_is_503_while_a_step_hangs():
    backend = Scripted()
    with serve_backend(backend, watchdog=Watchdog(backend, max_step_s=5.0)) as url:
        assert httpx.get(f"{url}/health").json()["status"] == "ok"
        backend.step_age_s = 6.0
        answer = httpx.get(f"{url}/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "hung")


def test_health_tells_numbers_to_who_holds_the_token():
    with serve_backend(Scripted(adapters=["alice/secret"]), token="secret") as url:
        plain = httpx.get(f"{url}/health")
        wrong = httpx.get(f"{url}/health", headers={"Authorization": "Bearer x"})
        told = httpx.get(f"{url}/health", headers={"Authorization": "Bearer secret"})
    assert plain.json() == wrong.json() == {"status": "ok"}
    assert told.json()["num_tokens"] == 17
    assert told.json()["engine"] == "scripted/1"
    assert "alice" not in told.text


def test_metrics_count_and_name_nobody():
    backend = Scripted(adapters=["alice/secret@main"])
    with serve_backend(backend, token="secret") as url:
        headers = {"Authorization": "Bearer secret", "X-Athanor-Tenant": "alice"}
        body = {"model": "alice/secret@main", "messages": MESSAGES}
        httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers)
        httpx.post(f"{url}/v1/chat/completions", json={**body, "seed": FULL_SEED}, headers=headers)
        assert httpx.get(f"{url}/metrics").status_code == 401
        answer = httpx.get(f"{url}/metrics", headers=headers)
    values = {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert values["athanor_tokens_total"] == 17
    assert values["athanor_busy_seconds_total"] == 1.5
    assert values["athanor_healthy"] == 1
    assert values["athanor_requests_total/v1/chat/completions200"] == 1
    assert values["athanor_requests_total/v1/chat/completions429"] == 1
    assert values["athanor_first_token_seconds_count"] == 1
    assert "alice" not in answer.text


def test_who_asks_is_told_only_with_the_servers_token():
    backend = Scripted()
    told = {"X-Athanor-Tenant": "alice", "X-Athanor-Deadline": "12.5"}
    with serve_backend(backend, token="secret") as url:
        headers = told | {"Authorization": "Bearer secret"}
        door = f"{url}/v1/chat/completions"
        answer = httpx.post(door, json=ENDLESS_BODY, headers=headers)
        bad = [
            httpx.post(door, json=ENDLESS_BODY, headers=headers | {"X-Athanor-Deadline": word})
            for word in ("soon", "-1", "nan", "inf")
        ]
    assert (backend.asked[0].tenant, backend.asked[0].deadline_s) == ("alice", 12.5)
    assert answer.json()["usage"]["timing"] == {"queue_s": 0.25, "prefill_s": 0.5, "decode_s": 1.0}
    assert {answer.status_code for answer in bad} == {400}
    with serve_backend(backend) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json=ENDLESS_BODY, headers=told)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "X-Athanor-Tenant")


def test_vectors_tell_what_they_took_and_keep_a_deadline(url, http, base, backend):
    asked = {"model": str(base), "input": ["Hello", "A longer text"]}
    told = http.post("/v1/embeddings", json=asked, headers={"X-Athanor-Tenant": "alice"}).json()
    assert told["usage"]["timing"]["prefill_s"] > 0
    assert "timing" not in http.post("/v1/embeddings", json=asked).json()["usage"]
    late = http.post("/v1/embeddings", json=asked, headers={"X-Athanor-Deadline": "1e-6"})
    assert late.status_code in (429, 503)
    assert "deadline" in late.json()["error"]["message"]
    wait_for("the late texts to leave", lambda: not backend.describe().num_running_now)


def test_whoever_leaves_before_their_vectors_are_there_ends_the_work():
    left = threading.Event()

    class Patient(Scripted):
        def embed(self, request, departure=None):
            departure.then(left.set)
            assert left.wait(DEADLINE_S)
            raise EmbedFailed("aborted", "left")

    with serve_backend(Patient()) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/embeddings", json={"model": "base", "input": "a"}, timeout=0.5)
        assert left.wait(DEADLINE_S)


def test_a_stream_tells_the_gateway_once_what_its_beginning_took(url, http, base):
    asked = {"model": str(base), "messages": MESSAGES, "stream": True, "max_tokens": 4}
    for headers, times in ({"X-Athanor-Tenant": "alice"}, 1), ({}, 0):
        lines = http.post("/v1/chat/completions", json=asked, headers=headers).text.splitlines()
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        told = [event["athanor_begun"] for event in events if "athanor_begun" in event]
        assert len(told) == times
    with_usage = asked | {"stream_options": {"include_usage": True}}
    answer = http.post("/v1/chat/completions", json=with_usage, headers={"X-Athanor-Tenant": "bob"})
    lines = [line for line in answer.text.splitlines() if line.startswith("data: {")]
    begun = next(each for line in lines if (each := json.loads(line[6:]).get("athanor_begun")))
    usage = json.loads(lines[-1][6:])["usage"]
    assert begun["prefill_s"] == usage["timing"]["prefill_s"] > 0
    assert begun["prompt_tokens"] == usage["prompt_tokens"]


def test_long_work_does_not_hold_health_up():
    release = threading.Event()

    class Slow(Scripted):
        def embed(self, request, departure=None):
            release.wait(DEADLINE_S)
            return super().embed(request)

    door = Door()
    with serve_backend(Slow(), door=door) as url, ThreadPoolExecutor(50) as pool:
        asked = {"model": "base", "input": "a"}
        ask = partial(httpx.post, f"{url}/v1/embeddings", json=asked, timeout=DEADLINE_S)
        waiting = [pool.submit(ask) for _ in range(50)]
        try:
            wait_for("all to be inside", lambda: door.num_inside == 50)
            assert httpx.get(f"{url}/health", timeout=5).status_code == 200
        finally:
            release.set()
        assert all(one.result().status_code == 200 for one in waiting)


def test_a_closed_door_sends_newcomers_away_and_lets_others_end():
    door, release = Door(), threading.Event()

    def script(request):
        assert release.wait(DEADLINE_S)
        return "late"

    with serve_backend(Scripted(script), door=door) as url:
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(httpx.post, f"{url}/v1/chat/completions", json=ENDLESS_BODY)
            while not door.num_inside:
                time.sleep(0.01)
            door.close()
            newcomer = httpx.post(f"{url}/v1/chat/completions", json=ENDLESS_BODY)
            health = httpx.get(f"{url}/health")
            assert not door.is_drained(60)
            release.set()
            assert answer.result().json()["choices"][0]["message"]["content"] == "late"
        assert (newcomer.status_code, newcomer.json()["error"]["code"]) == (503, "server_closing")
        assert (health.status_code, health.json()["status"]) == (503, "closing")
        wait_for("everybody to have left", lambda: door.is_drained(60), timeout_s=DEADLINE_S)
