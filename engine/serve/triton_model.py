"""The model of a Triton Inference Server repository: our engine behind Triton's Python backend.

Imported by the repository's `model.py`, inside of Triton only. Inputs and outputs are named as
those of Triton's vLLM backend, so that its clients work.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # exists inside of Triton only

from engine.errors import EngineError
from engine.serve.asking import Answers, Asked, ask_chat, ask_completion
from engine.serve.backend import RequestRefused
from engine.serve.callers import Caller
from engine.serve.chat_shapes import ChatBody
from engine.serve.completion_shapes import CompletionBody
from engine.serve.openai_shapes import validate
from engine.serve.python_api import Engine
from engine.specs import ServeSpec

SPEC_NAME = "spec.json"
# Each answer waits in a thread; more than wait here stand in Triton's own queue.
_MOST_ANSWERS = 256


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model of the repository's spec."""
        folder = Path(args["model_repository"]) / args["model_version"]
        spec = ServeSpec.model_validate_json((folder / SPEC_NAME).read_bytes())
        is_gpu = args.get("model_instance_kind") == "GPU"
        devices = (int(args["model_instance_device_id"]),) if is_gpu else ()
        fields = spec.model_dump(exclude={"kind", "model", "adapters"})
        fields["hub_url"] = _read_hub(args.get("model_config", "{}"))
        self._model = spec.model
        self._engine = Engine(spec.model, adapters=spec.adapters, devices=devices, **fields)
        self._pool = ThreadPoolExecutor(_MOST_ANSWERS, thread_name_prefix="triton")

    def execute(self, requests: list[Any]) -> None:
        """Take requests; their answers go out as they come (the decoupled mode)."""
        for request in requests:
            self._pool.submit(self._serve, request, request.get_response_sender())

    def finalize(self) -> None:
        """End all answers and free the model."""
        self._engine.close()
        self._pool.shutdown()

    def _serve(self, request: Any, sender: Any) -> None:
        final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        try:
            for text, finish in self._answer(request):
                if request.is_cancelled():
                    break
                sender.send(_make_response(text, finish))
        except (RequestRefused, EngineError) as error:
            failure = pb_utils.TritonError(error.message)
            sender.send(pb_utils.InferenceResponse(error=failure))
        except Exception as error:  # the outermost frame of a request: Triton must hear its end
            failure = pb_utils.TritonError(f"The model failed: {type(error).__name__}: {error}")
            sender.send(pb_utils.InferenceResponse(error=failure))
        finally:
            sender.send(flags=final)

    def _answer(self, request: Any) -> Iterator[tuple[str, str]]:
        """Yield text and finish: of each piece, or of the whole where it is not streamed."""
        is_stream = bool(_read(request, "stream", False))
        asked = self._ask(request)
        said = ""
        answers = iter(Answers(self._engine.backend, asked))
        for _, piece in answers:
            if is_stream and (piece.text or piece.finish):
                yield piece.text, piece.finish or ""
            said += piece.text
            if piece.finish and not is_stream:
                yield said, piece.finish

    def _ask(self, request: Any) -> Asked:
        body = _read_parameters(request)
        body["model"] = _read(request, "model", "") or self._model
        if messages := _read(request, "messages", ""):
            body["messages"] = _parse(messages, "messages")
            return ask_chat(validate(ChatBody, body), self._engine.backend, Caller())
        body["prompt"] = _read(request, "text_input", "")
        return ask_completion(validate(CompletionBody, body), self._engine.backend, Caller())


def _read_hub(config: str) -> str | None:
    """Return the hub that the model's config names; None is the Hugging Face Hub."""
    hub = json.loads(config).get("parameters", {}).get("hub", {})
    return hub.get("string_value") or None


def _read_parameters(request: Any) -> dict[str, Any]:
    parameters = _parse(_read(request, "sampling_parameters", "{}"), "sampling_parameters")
    if not isinstance(parameters, dict):
        raise RequestRefused("bad_request", "sampling_parameters: write a JSON object.")
    for name in ("n", "stream"):
        if name in parameters:
            raise RequestRefused("bad_request", f"sampling_parameters: {name} does not go here.")
    return parameters


def _parse(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RequestRefused("bad_request", f"{name} is no JSON: {error}.") from error


def _read(request: Any, name: str, default: Any) -> Any:
    """Return an input's one value, text as str; the default where it is not given."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        return default
    value = tensor.as_numpy().reshape(-1)[0]
    return value.decode() if isinstance(value, bytes) else value


def _make_response(text: str, finish: str) -> Any:
    tensors = [
        pb_utils.Tensor(name, np.array([value.encode()], dtype=object))
        for name, value in (("text_output", text), ("finish_reason", finish))
    ]
    return pb_utils.InferenceResponse(output_tensors=tensors)
