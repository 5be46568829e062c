"""What the HTTP side takes and gives, in OpenAI's shapes.

A parameter that changes the answer and that we lack is refused by name; none is ignored silently.
Shapes: https://platform.openai.com/docs/api-reference/chat.
"""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.serve.backend import ChatRequest, FinishReason, Sampling, ServedModel

# Parameters of OpenAI's that we lack, and the values that ask for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "store": (False,),
}
# Parameters that name the caller or the call, and never change an answer.
_PASSED_OVER = frozenset({"user", "safety_identifier", "metadata", "prompt_cache_key"})


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(_Shape):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class Message(_Shape):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, turn: Any) -> Any:
        """Take an answer of ours back as clients echo it, with `refusal` and the like as null."""
        return _drop_none(turn)

    def to_turn(self) -> dict[str, str]:
        """Return the turn as chat templates take it."""
        role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return {"role": role, "content": self.content}
        return {"role": role, "content": "".join(part.text for part in self.content)}


class StreamOptions(_Shape):
    """How an answer is streamed."""

    include_usage: bool = False


class ChatBody(_Shape):
    """Body of `POST /v1/chat/completions`."""

    model: str
    messages: list[Message] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        kept = {name: value for name, value in body.items() if not _is_neutral(name, value)}
        return _drop_none(kept)

    def to_request(self) -> ChatRequest:
        """Return what a backend is asked."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return ChatRequest(
            model=self.model,
            messages=tuple(message.to_turn() for message in self.messages),
            sampling=Sampling(
                max_tokens=self.max_completion_tokens or self.max_tokens,
                temperature=1.0 if self.temperature is None else self.temperature,
                top_p=1.0 if self.top_p is None else self.top_p,
                stop=tuple(stop),
                seed=self.seed,
            ),
        )


class LoadBody(_Shape):
    """Body of `POST /v1/load_lora_adapter`."""

    lora_name: str = Field(min_length=1, max_length=300)
    lora_path: str = Field(min_length=1, max_length=4096)


class UnloadBody(_Shape):
    """Body of `POST /v1/unload_lora_adapter`."""

    lora_name: str


def explain_body(problems: Sequence[Any]) -> tuple[str, str | None]:
    """Return one sentence on the first of pydantic's problems, and the parameter's name."""
    first = problems[0]
    param = _name_place([part for part in first["loc"] if part not in _NO_PLACES])
    if first["type"] == "json_invalid":
        return f"The body is no JSON: {first['msg']}.", None
    if not param and first["type"] in ("model_attributes_type", "missing"):
        return "The body must be a JSON object, sent as Content-Type: application/json.", None
    if first["type"] == "extra_forbidden":
        return f"{param} is not supported here; leave it out.", param
    if first["type"] == "missing":
        return f"{param} is missing; give it.", param
    return f"{param or 'The body'}: {first['msg']}.", param


def shape_error(message: str, kind: str, code: str | None, param: str | None) -> dict[str, Any]:
    """Shape an error's body."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def shape_models(models: list[ServedModel]) -> dict[str, Any]:
    """Shape the answer of `GET /v1/models`; `root` and `parent` of an adapter name its base."""
    return {"object": "list", "data": [_shape_model(model) for model in models]}


class AnswerShape:
    """Shapes one answer, whole or in chunks."""

    def __init__(self, answer_id: str, model: str) -> None:
        self._head = {"id": answer_id, "created": int(time.time()), "model": model}

    def whole(
        self, text: str, finish: FinishReason, num_prompt_tokens: int, num_tokens: int
    ) -> dict[str, Any]:
        """Shape the body of an answer that is not streamed."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        usage = shape_usage(num_prompt_tokens, num_tokens)
        return self._head | {"object": "chat.completion", "choices": [choice], "usage": usage}

    def chunk(
        self, delta: dict[str, str], finish: FinishReason | None, **extra: Any
    ) -> dict[str, Any]:
        """Shape one event of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._head | {"object": "chat.completion.chunk", "choices": [choice]} | extra

    def usage_chunk(self, num_prompt_tokens: int, num_tokens: int) -> dict[str, Any]:
        """Shape the event that ends a stream with its usage."""
        usage = shape_usage(num_prompt_tokens, num_tokens)
        return self._head | {"object": "chat.completion.chunk", "choices": [], "usage": usage}


def shape_usage(num_prompt_tokens: int, num_tokens: int) -> dict[str, int]:
    """Shape the count of tokens."""
    return {
        "prompt_tokens": num_prompt_tokens,
        "completion_tokens": num_tokens,
        "total_tokens": num_prompt_tokens + num_tokens,
    }


def _is_neutral(name: str, value: Any) -> bool:
    return name in _PASSED_OVER or (name in _NEUTRAL and value in _NEUTRAL[name])


def _drop_none(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    return {name: value for name, value in body.items() if value is not None}


# What pydantic and FastAPI put into the place of a problem that is no part of the body.
_NO_PLACES = frozenset({"body", "str", "list[str]", "list[TextPart]"})


def _name_place(parts: list[Any]) -> str | None:
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return name.removeprefix(".") or None


def _shape_model(model: ServedModel) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "athanor",
        "root": model.base or model.name,
        "parent": model.base,
        "max_model_len": model.max_context,
    }
