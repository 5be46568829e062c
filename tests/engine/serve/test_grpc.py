"""gRPC with a real client: the answers and refusals of HTTP, streams, cancelling, reflection."""

import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from engine.errors import EngineError
from engine.serve.backend import Constraint, Piece, TextRequest
from engine.serve.door import Door
from engine.serve.grpc import inference_pb2 as pb
from engine.serve.grpc.server import SERVICE, GrpcServer
from tests.engine.serve.scripted import FULL_SEED, Scripted, embed_text
from tests.engine.serve.tiny_models import DEADLINE_S

ROOT = Path(__file__).resolve().parents[3]
TOKEN = (("authorization", "Bearer secret"),)
HI = [pb.Message(role="user", content="Hi")]
CALL = '<tool_call>\n{"name": "now", "arguments": {"zone": 1}}\n</tool_call>'


def script(request):
    if request.model == "endless":
        return [Piece("a", 1)]
    if request.model == "broken":
        return [Piece("a", 1), Piece("", 1, "error", message="Bad luck.")]
    if isinstance(request, TextRequest):
        return " and on"
    return CALL if request.tools else f"Seed {request.sampling.seed}"


@pytest.fixture(scope="module")
def backend():
    names = ["me/red@main", "endless", "broken"]
    return Scripted(script, template="<tool_call>", adapters=names, base="me/base")


@pytest.fixture(scope="module")
def door():
    return Door()


@pytest.fixture(scope="module")
def channel(backend, door):
    server = GrpcServer(backend, host="127.0.0.1", port=0, token="secret", door=door)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel
    server.stop(0)


@pytest.fixture
def call(channel):
    """Call a method by its name; streams come as lists."""

    def ask(method: str, request, metadata=TOKEN, **options):
        return open_call(channel, method)(request, metadata=metadata, **options)

    return ask


def open_call(channel, method: str):
    """Return a method as the service's own descriptor describes it."""
    about = pb.DESCRIPTOR.services_by_name["Inference"].methods_by_name[method]
    answer = getattr(pb, about.output_type.name)
    kind = channel.unary_stream if about.server_streaming else channel.unary_unary
    return kind(
        f"/{SERVICE}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )


def ask_chat(**options) -> pb.ChatRequest:
    return pb.ChatRequest(**{"model": "me/base", "messages": HI} | options)


def test_a_chat_is_answered(call, backend):
    sampling = pb.Sampling(seed=5, temperature=0.5, max_tokens=3, logit_bias={7: -1.5}, stop=["x"])
    answer = call("Chat", ask_chat(sampling=sampling, logprobs=True, top_logprobs=1))
    assert answer.choices[0].message.content == "See"
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].logprobs.content[1].top_logprobs[0].token == "e"
    assert answer.system_fingerprint == "fp_me/base"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 3)
    assert answer.usage.prompt_tokens_details.cached_tokens == 2
    asked = backend.asked[-1].sampling
    assert (asked.seed, asked.temperature, asked.logit_bias) == (5, 0.5, ((7, -1.5),))


def test_a_chat_streams(call):
    chunks = list(call("StreamChat", ask_chat(sampling=pb.Sampling(n=2, seed=1))))
    texts = ["", ""]
    for chunk in chunks[:-1]:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content
    assert texts == ["Seed 1", "Seed 2"]
    assert chunks[-1].usage.total_tokens == 2 + 12


def test_tools_and_formats_go_the_same_way_as_over_http(call, backend):
    tools = [pb.Function(name="now", parameters='{"type": "object"}')]
    answer = call("Chat", ask_chat(tools=tools, tool_name="now"))
    said = answer.choices[0].message
    assert said.tool_calls[0].function.arguments == '{"zone": 1}'
    assert answer.choices[0].finish_reason == "tool_calls"
    assert backend.asked[-1].sampling.constraint.kind == "grammar"
    result = pb.Message(role="tool", content="noon", tool_call_id=said.tool_calls[0].id)
    call("Chat", ask_chat(messages=[*HI, said, result]))
    assert backend.asked[-1].messages[1]["tool_calls"][0]["function"]["arguments"] == {"zone": 1}
    bound = pb.ResponseFormat(type="json_schema", json_schema='{"type": "integer"}')
    call("Chat", ask_chat(response_format=bound))
    assert backend.asked[-1].sampling.constraint == Constraint("json_schema", '{"type": "integer"}')


def test_a_text_is_continued(call, backend):
    answer = call("Complete", pb.CompleteRequest(model="me/base", prompt="Once", echo=True))
    assert answer.choices[0].text == "Once and on"
    tokens = pb.CompleteRequest(model="me/base", prompt_tokens=pb.Tokens(ids=[79, 110]))
    chunks = list(call("StreamComplete", tokens))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == " and on"
    assert backend.asked[-1].prompt == (79, 110)
    assert chunks[-1].usage.prompt_tokens == 2


def test_the_small_methods_answer(call, backend):
    models = call("ListModels", pb.ListModelsRequest()).data
    assert [(model.id, model.parent) for model in models][0] == ("me/base", "")
    vectors = call("Embed", pb.EmbedRequest(model="me/base", input=["a", "b"])).data
    assert list(vectors[1].embedding) == pytest.approx(embed_text("b"), abs=1e-6)
    assert call("Tokenize", pb.TokenizeRequest(model="me/base", prompt="ab")).tokens == [97, 98]
    assert call("Tokenize", pb.TokenizeRequest(model="me/base", messages=HI)).tokens == [72, 105]
    text = call("Detokenize", pb.DetokenizeRequest(model="me/base", tokens=[97])).prompt
    assert text == "a"
    call("LoadAdapter", pb.LoadAdapterRequest(lora_name="new", lora_path="me/new"))
    assert "new" in {model.name for model in backend.list_models()}
    call("UnloadAdapter", pb.UnloadAdapterRequest(lora_name="new"))


@pytest.mark.parametrize(
    ("method", "request_", "code", "param"),
    [
        ("Chat", pb.ChatRequest(model="me/base"), "INVALID_ARGUMENT", "messages"),
        ("Chat", ask_chat(sampling=pb.Sampling(top_p=2)), "INVALID_ARGUMENT", "top_p"),
        ("Chat", ask_chat(model="nobody"), "NOT_FOUND", "model"),
        ("Chat", ask_chat(tool_choice="required"), "INVALID_ARGUMENT", "tool_choice"),
        (
            "Chat",
            ask_chat(tools=[pb.Function(name="now", parameters="{")]),
            "INVALID_ARGUMENT",
            "tools",
        ),
        ("StreamChat", ask_chat(messages=[pb.Message(role="king")]), "INVALID_ARGUMENT", "role"),
        ("Chat", ask_chat(sampling=pb.Sampling(seed=FULL_SEED)), "RESOURCE_EXHAUSTED", None),
        ("Chat", ask_chat(model="broken"), "INTERNAL", None),
        ("Complete", pb.CompleteRequest(model="me/base"), "INVALID_ARGUMENT", "prompt"),
        ("Embed", pb.EmbedRequest(model="me/base"), "INVALID_ARGUMENT", "input"),
        ("Tokenize", pb.TokenizeRequest(model="me/base"), "INVALID_ARGUMENT", "prompt"),
        (
            "Tokenize",
            pb.TokenizeRequest(model="me/base", prompt="ab", messages=HI),
            "INVALID_ARGUMENT",
            "prompt",
        ),
        ("UnloadAdapter", pb.UnloadAdapterRequest(lora_name="x"), "NOT_FOUND", "lora_name"),
    ],
)
def test_what_cannot_be_done_is_refused_as_over_http(call, method, request_, code, param):
    with pytest.raises(grpc.RpcError) as refused:
        list(call(method, request_)) if method.startswith("Stream") else call(method, request_)
    assert refused.value.code().name == code
    trailing = dict(refused.value.trailing_metadata())
    assert param is None or trailing["athanor-param"].endswith(param)
    assert "\n" not in refused.value.details()
    if code == "RESOURCE_EXHAUSTED":
        assert trailing["retry-after"] == "7"


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer wrong"),)])
def test_without_the_token_nothing_is_told(call, metadata):
    with pytest.raises(grpc.RpcError) as refused:
        call("ListModels", pb.ListModelsRequest(), metadata=metadata)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_caller_who_leaves_frees_the_place(call, backend):
    backend.aborted.clear()
    stream = call("StreamChat", ask_chat(model="endless"))
    next(stream)
    stream.cancel()
    assert backend.aborted.wait(DEADLINE_S)


def test_a_deadline_reaches_the_backend_and_ends_the_call(call, backend):
    told = (*TOKEN, ("x-athanor-tenant", "alice"))
    with pytest.raises(grpc.RpcError) as late:
        call("Chat", ask_chat(model="endless"), metadata=told, timeout=0.5)
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0 < backend.asked[-1].deadline_s < 0.6
    assert backend.asked[-1].tenant == "alice"


def test_reflection_describes_the_service(channel):
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    methods = pool.FindServiceByName(SERVICE).methods_by_name
    assert methods["StreamChat"].server_streaming
    assert "messages" in methods["Chat"].input_type.fields_by_name


def test_health_is_told_to_everybody(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_closed_door_sends_newcomers_away():
    door = Door()
    server = GrpcServer(Scripted(), host="127.0.0.1", port=0, token=None, door=door)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            assert open_call(channel, "Chat")(ask_chat(model="base")).choices
            door.close()
            with pytest.raises(grpc.RpcError) as refused:
                open_call(channel, "Chat")(ask_chat(model="base"))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert door.num_inside == 0
    finally:
        server.stop(0)


def test_a_taken_port_is_told():
    first = GrpcServer(Scripted(), host="127.0.0.1", port=0, token=None, door=Door())
    try:
        with pytest.raises(EngineError, match="cannot be taken for gRPC"):
            GrpcServer(Scripted(), host="127.0.0.1", port=first.port, token=None, door=Door())
    finally:
        first.stop(0)


def test_what_is_generated_is_up_to_date(tmp_path):
    proto = "engine/serve/grpc/inference.proto"
    (tmp_path / proto).parent.mkdir(parents=True)
    shutil.copy(ROOT / proto, tmp_path / proto)
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--pyi_out=."]
    subprocess.run([*command, proto], cwd=tmp_path, check=True)
    for suffix in ("_pb2.py", "_pb2.pyi"):
        name = proto.replace(".proto", suffix)
        assert (tmp_path / name).read_text() == (ROOT / name).read_text(), "run `make proto`"
