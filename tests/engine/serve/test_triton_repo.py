"""The Triton repository: its config in Triton's own format, and its model run without Triton."""

import importlib.util
import json
import queue
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
    text_format,
)

from engine.__main__ import main
from engine.specs import ServeSpec
from tests.engine.serve.tiny_models import DEADLINE_S, GREEDY, ask, open_backend

# The part of Triton's model_config.proto that the config uses.
_PROTO = """
syntax = "proto3";
package inference;
enum DataType { TYPE_INVALID = 0; TYPE_BOOL = 1; TYPE_STRING = 13; }
message ModelInput { string name = 1; DataType data_type = 2; repeated int64 dims = 4;
  bool optional = 9; }
message ModelOutput { string name = 1; DataType data_type = 2; repeated int64 dims = 3; }
message ModelInstanceGroup { enum Kind { KIND_AUTO = 0; KIND_GPU = 1; KIND_CPU = 2; }
  int32 count = 2; Kind kind = 4; }
message ModelTransactionPolicy { bool decoupled = 1; }
message ModelParameter { string string_value = 1; }
message ModelConfig { string name = 1; int32 max_batch_size = 4; repeated ModelInput input = 5;
  repeated ModelOutput output = 6; map<string, ModelParameter> parameters = 14;
  repeated ModelInstanceGroup instance_group = 7;
  string backend = 17; ModelTransactionPolicy model_transaction_policy = 19; }
"""


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory, base):
    folder = tmp_path_factory.mktemp("triton")
    (folder / "serve.yaml").write_text(f"model: {base}\n")
    arguments = [str(folder / "serve.yaml"), str(folder / "repo"), "--set", "precision=fp32"]
    assert main(["triton-repo", *arguments]) == 0
    assert main(["triton-repo", *arguments]) == 2  # it is there already
    return folder / "repo" / "athanor"


def read_config(text, tmp_path):
    """Read a config as Triton does."""
    (tmp_path / "model_config.proto").write_text(_PROTO)
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--descriptor_set_out=set"]
    subprocess.run([*command, "model_config.proto"], cwd=tmp_path, check=True)
    described = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "set").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described.file[0])
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))
    return text_format.Parse(text, kind())


def test_the_config_is_what_triton_reads(model_folder, tmp_path):
    config = read_config((model_folder / "config.pbtxt").read_text(), tmp_path)
    assert (config.name, config.backend) == (model_folder.name, "python")
    assert config.model_transaction_policy.decoupled
    assert config.max_batch_size == 0
    assert {one.name for one in config.output} == {"text_output", "finish_reason"}
    assert all(one.optional for one in config.input)


def test_the_hub_that_its_model_comes_from_goes_along(model, tmp_path, monkeypatch):
    (tmp_path / "serve.yaml").write_text("model: alice/tiny@v1\n")
    folder = tmp_path / "repo"
    url = "http://hub.test:8000"
    assert main(["triton-repo", str(tmp_path / "serve.yaml"), str(folder), "--hub", url]) == 0
    config = read_config((folder / "athanor" / "config.pbtxt").read_text(), tmp_path)
    opened = {}
    monkeypatch.setattr(
        "engine.serve.triton_model.Engine", lambda model, **told: opened.update(told, model=model)
    )
    type(model)().initialize(
        {
            "model_repository": str(folder / "athanor"),
            "model_version": "1",
            "model_config": json_format.MessageToJson(config, preserving_proto_field_name=True),
        }
    )
    assert (opened["model"], opened["hub_url"]) == ("alice/tiny@v1", url)


class Sender:
    def __init__(self):
        self.sent = queue.Queue()

    def send(self, response=None, flags=0):
        self.sent.put((response, flags))

    def read_all(self):
        """Return texts, finishes and errors up to the end."""
        got = []
        while True:
            response, flags = self.sent.get(timeout=DEADLINE_S)
            if response is not None and response.error:
                got.append(response.error)
            elif response is not None:
                got.append(tuple(t.as_numpy()[0].decode() for t in response.output_tensors))
            if flags:
                return got


class Request:
    def __init__(self, **inputs):
        self.inputs = inputs
        self.sender = Sender()

    def get_response_sender(self):
        return self.sender

    def is_cancelled(self):
        return False


class Tensor:
    def __init__(self, name, values):
        self.name, self._values = name, values

    def as_numpy(self):
        return self._values


class Response:
    def __init__(self, output_tensors=(), error=None):
        self.output_tensors, self.error = output_tensors, error


def get_input(request, name):
    if name not in request.inputs:
        return None
    value = request.inputs[name]
    is_text = isinstance(value, str)
    values = np.array([value.encode()], dtype=object) if is_text else np.array([value])
    return Tensor(name, values)


@pytest.fixture(scope="module")
def model(model_folder):
    """The model as Triton imports and begins it, with a stand-in for Triton's own module."""
    stub = types.ModuleType("triton_python_backend_utils")
    stub.TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
    stub.get_input_tensor_by_name = get_input
    stub.Tensor, stub.InferenceResponse, stub.TritonError = Tensor, Response, str
    sys.modules[stub.__name__] = stub
    spec = importlib.util.spec_from_file_location("triton_model", model_folder / "1" / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    model.initialize(
        {"model_repository": str(model_folder), "model_version": "1", "model_instance_kind": "CPU"}
    )
    yield model
    model.finalize()
    del sys.modules[stub.__name__]


def run(triton, /, **inputs):
    request = Request(**inputs)
    triton.execute([request])
    return request.sender.read_all()


def test_a_conversation_is_answered_as_the_engine_does(model, base):
    with open_backend(base) as backend:
        wanted = ask(backend, str(base), GREEDY)
    inputs = {
        "messages": json.dumps([{"role": "user", "content": "Hello"}]),
        "sampling_parameters": json.dumps({"temperature": 0, "max_tokens": 12}),
    }
    assert run(model, **inputs) == [(wanted, "length")]
    pieces = run(model, stream=True, **inputs)
    assert "".join(text for text, _ in pieces) == wanted
    assert [finish for _, finish in pieces if finish] == ["length"]
    assert len(pieces) > 3


def test_several_requests_are_under_way_at_once(model):
    requests = [Request(text_input=text) for text in ("One", "Two")]
    model.execute(requests)
    assert all(request.sender.read_all()[0][1] in ("length", "stop") for request in requests)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"text_input": "a", "sampling_parameters": "{"}, "sampling_parameters is no JSON"),
        ({"text_input": "a", "sampling_parameters": '{"n": 2}'}, "n does not go here"),
        ({"text_input": "a", "sampling_parameters": '{"top_p": 2}'}, "top_p"),
        ({"messages": "[]"}, "messages"),
        ({"text_input": "a", "model": "nobody/x"}, "nobody/x is not served"),
    ],
)
def test_what_cannot_be_done_is_an_error_in_words(model, inputs, words):
    (error,) = run(model, **inputs)
    assert words in error


def test_a_folder_beside_the_spec_is_found_from_anywhere(tmp_path, base, monkeypatch):
    (tmp_path / "base").symlink_to(base)
    (tmp_path / "serve.yaml").write_text("model: ./base\n")
    monkeypatch.chdir(tmp_path)
    assert main(["triton-repo", "serve.yaml", "repo"]) == 0
    written = Path("repo/athanor/1/spec.json").read_bytes()
    assert ServeSpec.model_validate_json(written).model == str(base.resolve())
