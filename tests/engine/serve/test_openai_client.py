"""The unmodified OpenAI client, feature by feature, over real HTTP against a scripted backend."""

import base64
import json
import struct

import openai
import pytest
from pydantic import BaseModel

from engine.serve.backend import ChatRequest, Constraint, TextRequest
from tests.engine.serve.scripted import FULL_SEED, Scripted, embed_text
from tests.engine.serve.tiny_models import serve_backend

HI = [{"role": "user", "content": "Hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
NOW = {"type": "function", "function": {"name": "now"}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>'
CALLS = f'Let me see.\n{CALL}\n<tool_call>\n{{"name": "now"}}\n</tool_call>'
QWEN = "{% if tools %}<tool_call>"


def script(request) -> str:
    if isinstance(request, TextRequest):
        return " and on"
    return CALLS if request.tools else f"Seed {request.sampling.seed}"


@pytest.fixture(scope="module")
def backend():
    return Scripted(script, template=QWEN, adapters=["me/red@v2", "me/blue"], base="me/base")


@pytest.fixture(scope="module")
def client(backend):
    with serve_backend(backend, token="secret") as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="secret", max_retries=0)


@pytest.fixture
def chat(client):
    """Ask for a chat's answer; `model` and `messages` need not be given."""

    def ask(**options):
        return client.chat.completions.create(**{"model": "me/base", "messages": HI} | options)

    return ask


def join(chunks):
    """Join a stream: text, calls by index, and the finish."""
    text, calls, finish = "", {}, None
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or []:
                name, arguments = calls.get(call.index, ("", ""))
                name += call.function.name or ""
                calls[call.index] = name, arguments + call.function.arguments
    return text, list(calls.values()), finish


def test_a_chat_has_all_that_the_client_reads(chat):
    answer = chat(seed=5)
    assert answer.choices[0].message.content == "Seed 5"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.system_fingerprint == "fp_me/base"
    assert answer.usage.prompt_tokens == 2
    assert answer.usage.completion_tokens == 6
    assert answer.usage.prompt_tokens_details.cached_tokens == 2
    assert not hasattr(answer.usage, "timing")


def test_a_stream_ends_with_usage_where_asked(chat):
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    assert join(chunks) == ("Seed None", [], "stop")
    assert chunks[-1].usage.total_tokens == 11
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert all(chunk.usage is None for chunk in chat(stream=True))


def test_the_streaming_helper_of_the_client_follows(client):
    with client.chat.completions.stream(model="me/base", messages=HI, tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls[0].function.arguments == '{"city": "Bonn"}'


def test_all_parameters_reach_the_backend(chat, backend):
    chat(
        max_completion_tokens=7,
        temperature=0.5,
        top_p=0.9,
        stop=["a", "b"],
        seed=3,
        frequency_penalty=0.1,
        presence_penalty=-0.2,
        logit_bias={"5": 2, "3": -100},
        user="alice",
        metadata={"a": "b"},
        extra_body={
            "top_k": 40,
            "min_p": 0.1,
            "repetition_penalty": 1.1,
            "ignore_eos": True,
            "stop_token_ids": [9],
            "regex": "a+",
        },
    )
    asked = backend.asked[-1].sampling
    assert (asked.max_tokens, asked.temperature, asked.top_p, asked.seed) == (7, 0.5, 0.9, 3)
    assert (asked.stop, asked.stop_token_ids, asked.ignores_end) == (("a", "b"), (9,), True)
    assert (asked.frequency_penalty, asked.presence_penalty) == (0.1, -0.2)
    assert asked.logit_bias == ((3, -100), (5, 2))
    assert (asked.top_k, asked.min_p, asked.repetition_penalty) == (40, 0.1, 1.1)
    assert asked.constraint == Constraint("regex", "a+")
    assert backend.asked[-1].tenant == ""


def test_several_answers_share_a_prompt_and_count_it_once(chat, backend):
    before = len(backend.asked)
    answer = chat(n=3, seed=2**63 - 1)
    assert [request.sampling.seed for request in backend.asked[before:]] == [
        2**63 - 1,
        -(2**63),
        -(2**63) + 1,
    ]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) == 3
    assert answer.usage.prompt_tokens == 2
    assert answer.usage.completion_tokens == sum(len(c.message.content) for c in answer.choices)


def test_several_answers_stream_side_by_side(chat):
    texts = ["", ""]
    for chunk in chat(n=2, seed=1, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == ["Seed 1", "Seed 2"]


def test_one_of_several_that_finds_no_place_ends_all(chat, backend):
    before = backend.num_aborted
    with pytest.raises(openai.RateLimitError):
        chat(n=2, seed=FULL_SEED - 1)
    assert backend.num_aborted == before + 1


def test_logprobs_come_for_each_token(chat):
    whole = chat(logprobs=True, top_logprobs=2).choices[0]
    tokens = whole.logprobs.content
    assert "".join(token.token for token in tokens) == whole.message.content
    assert tokens[0].bytes == [83]
    assert [top.token for top in tokens[0].top_logprobs] == ["S", "T"]
    assert tokens[0].top_logprobs[1].logprob == -1.5
    streamed = [
        token.token
        for chunk in chat(logprobs=True, stream=True)
        if chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]
    assert streamed == [token.token for token in tokens]
    assert chat().choices[0].logprobs is None


def test_logprobs_of_tool_calls_are_not_lost(chat):
    tokens = [
        token.token
        for chunk in chat(tools=[WEATHER, NOW], logprobs=True, stream=True)
        if chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]
    assert "".join(tokens) == CALLS


def test_tools_are_offered_and_their_calls_found(chat, backend):
    choice = chat(tools=[WEATHER, NOW]).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see."
    calls = choice.message.tool_calls
    assert [call.function.name for call in calls] == ["weather", "now"]
    assert json.loads(calls[0].function.arguments) == {"city": "Bonn"}
    assert calls[0].id != calls[1].id
    assert backend.asked[-1].tools[0] == WEATHER
    assert "<tool_call>" in backend.asked[-1].sampling.shows_special
    assert backend.asked[-1].sampling.constraint is None


def test_tool_calls_stream(chat):
    chunks = list(chat(tools=[WEATHER, NOW], stream=True))
    called = [("weather", '{"city": "Bonn"}'), ("now", "{}")]
    assert join(chunks) == ("Let me see.", called, "tool_calls")


def test_one_call_at_a_time_where_asked(chat):
    calls = chat(tools=[WEATHER, NOW], parallel_tool_calls=False).choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["weather"]


def test_a_call_can_be_required_or_named(chat, backend):
    chat(tools=[WEATHER, NOW], tool_choice="required")
    required = backend.asked[-1].sampling.constraint
    assert required.kind == "grammar"
    assert '\\"weather\\"' in required.text and '\\"now\\"' in required.text
    named = {"type": "function", "function": {"name": "now"}}
    chat(tools=[WEATHER, NOW], tool_choice=named)
    assert '\\"weather\\"' not in backend.asked[-1].sampling.constraint.text
    assert backend.asked[-1].tool_choice == "=now"


def test_no_tool_is_offered_where_none_may_be_called(chat, backend):
    answer = chat(tools=[WEATHER], tool_choice="none")
    assert backend.asked[-1].tools == ()
    assert answer.choices[0].message.tool_calls is None


def test_a_conversation_with_calls_goes_on(chat, backend):
    said = chat(tools=[WEATHER]).choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in said.tool_calls
    ]
    chat(messages=[*HI, said.model_dump(), *results], tools=[WEATHER])
    turns = backend.asked[-1].messages
    assert turns[1]["tool_calls"][0]["function"]["arguments"] == {"city": "Bonn"}
    assert turns[2]["role"] == "tool"
    assert turns[2]["tool_call_id"] == said.tool_calls[0].id


def test_an_answer_can_be_bound_to_a_format(client, chat, backend):
    chat(response_format={"type": "json_object"})
    assert backend.asked[-1].sampling.constraint == Constraint("json_object")

    class City(BaseModel):
        name: str

    backend_script, backend.script = backend.script, lambda request: '{"name": "Bonn"}'
    try:
        answer = client.chat.completions.parse(model="me/base", messages=HI, response_format=City)
    finally:
        backend.script = backend_script
    assert answer.choices[0].message.parsed == City(name="Bonn")
    constraint = backend.asked[-1].sampling.constraint
    assert constraint.kind == "json_schema"
    assert json.loads(constraint.text)["properties"]["name"]["type"] == "string"
    chat(response_format={"type": "text"}, extra_body={"grammar": 'start: "a"'})
    assert backend.asked[-1].sampling.constraint == Constraint("grammar", 'start: "a"')


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("me/base", "me/base"),
        ("me/red@v2", "me/red@v2"),
        ("me/base+me/red@v2", "me/red@v2"),
        ("me/base@main+me/red@v2", "me/red@v2"),
        ("me/base+me/blue@main", "me/blue"),
        ("me/base+me/blue", "me/blue"),
    ],
)
def test_an_adapter_is_addressed_with_its_base(chat, backend, name, served):
    answer = chat(model=name)
    assert backend.asked[-1].model == served
    assert (answer.model, answer.system_fingerprint) == (name, f"fp_{served}")


@pytest.mark.parametrize(
    "name", ["me/base+me/red@v1", "me/other+me/red@v2", "me/base+", "+me/blue"]
)
def test_another_revision_or_base_is_not_served(chat, name):
    with pytest.raises(openai.NotFoundError):
        chat(model=name)


def test_completions_continue_texts_and_tokens(client, backend):
    ask = client.completions.create
    answer = ask(model="me/base", prompt="Once", max_tokens=3)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (" an", "length")
    assert ask(model="me/base", prompt="Once", echo=True).choices[0].text == "Once and on"
    assert ask(model="me/base", prompt=[79, 110], echo=True).choices[0].text == "On and on"
    assert backend.asked[-1].prompt == (79, 110)
    assert backend.asked[-1].sampling.max_tokens == 16
    several = ask(model="me/base", prompt=["One", "Two"], n=2, echo=True)
    assert [choice.text[:3] for choice in several.choices] == ["One", "One", "Two", "Two"]
    assert several.usage.prompt_tokens == 6


def test_completions_stream_with_logprobs(client):
    asked = {"model": "me/base", "prompt": "Once", "logprobs": 2}
    whole = client.completions.create(**asked).choices[0]
    assert whole.logprobs.tokens == list(whole.text)
    assert whole.logprobs.text_offset == list(range(7))
    assert whole.logprobs.top_logprobs[0] == {" ": -0.5, "!": -1.5}
    chunks = list(client.completions.create(**asked, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.text
    offsets = [one for chunk in chunks for one in chunk.choices[0].logprobs.text_offset]
    assert offsets == whole.logprobs.text_offset
    echoed = client.completions.create(model="me/base", prompt="Once", echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in echoed) == "Once and on"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True, "logprobs": 1}, "logprobs"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a"] * 65, "n": 2}, "prompt"),
        ({"prompt": [-1]}, "prompt[0]"),
    ],
)
def test_what_completions_lack_is_refused_by_name(client, changes, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(**{"model": "me/base", "prompt": "a"} | changes)
    assert refused.value.param == param or param in refused.value.message


def test_embeddings_come_as_the_client_asks(client, backend):
    answer = client.embeddings.create(model="me/base", input=["a", "bc"])  # base64 by default
    assert answer.data[1].embedding == pytest.approx(embed_text("bc"), abs=1e-6)
    assert answer.usage.prompt_tokens == 3
    floats = client.embeddings.create(model="me/base", input=[1, 2], encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(embed_text((1, 2)))
    assert backend.embedded[-1].texts == ((1, 2),)
    raw = client.embeddings.with_raw_response.create(
        model="me/base", input="a", encoding_format="base64"
    )
    packed = json.loads(raw.text)["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(packed)) == pytest.approx(embed_text("a"))


@pytest.mark.parametrize(
    "changes", [{"input": ""}, {"input": []}, {"input": ["a", ""]}, {"dimensions": 3}]
)
def test_what_cannot_be_embedded_is_refused(client, changes):
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(**{"model": "me/base", "input": "a"} | changes)


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["me/base", "me/blue", "me/red@v2"]


def test_a_wrong_key_is_refused(client):
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


def test_texts_become_tokens_and_back(client):
    http, url = client._client, str(client.base_url).removesuffix("/v1/")
    headers = {"Authorization": "Bearer secret"}

    def post(door: str, **body):
        return http.post(f"{url}{door}", json={"model": "me/base", **body}, headers=headers)

    assert post("/tokenize", prompt="ab").json() == {
        "tokens": [97, 98],
        "count": 2,
        "max_model_len": 4096,
    }
    assert post("/tokenize", messages=HI, tools=[WEATHER]).json()["count"] == 2
    assert post("/detokenize", tokens=[97, 98]).json() == {"prompt": "ab"}
    assert post("/tokenize").status_code == 400
    assert post("/tokenize", prompt="a", messages=HI).json()["error"]["param"] == "prompt"
    assert post("/detokenize", tokens=[-1]).json()["error"]["param"] == "tokens[0]"


def test_a_model_told_in_words_gets_its_tools_there():
    backend = Scripted(lambda request: f"[{CALL[12:-13]}]")
    with serve_backend(backend) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="x")
        answer = client.chat.completions.create(model="base", messages=HI, tools=[WEATHER])
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"
    request = backend.asked[0]
    assert isinstance(request, ChatRequest)
    assert request.tools == ()
    assert '"weather"' in request.messages[0]["content"]


def test_internlm2_is_served_in_its_own_words():
    said = '<|action_start|><|plugin|>\n{"name": "now", "parameters": {}}<|action_end|>'
    marks = ("<|action_start|>", "<|plugin|>", "<|action_end|>")
    backend = Scripted(lambda request: said, specials=marks)
    with serve_backend(backend) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="x")
        answer = client.chat.completions.create(
            model="base", messages=HI, tools=[NOW], tool_choice="required"
        )
    assert answer.choices[0].message.tool_calls[0].function.name == "now"
    assert backend.asked[0].messages[0]["role"] == "system name=<|plugin|>"
    assert "<[1114112]> <[1114113]>" in backend.asked[0].sampling.constraint.text
