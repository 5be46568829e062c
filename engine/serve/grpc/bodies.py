"""Turns gRPC's messages into HTTP's bodies and its answers back: one set of rules for both."""

import json
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from engine.serve.backend import RequestRefused
from engine.serve.chat_shapes import ChatBody
from engine.serve.completion_shapes import CompletionBody
from engine.serve.grpc import inference_pb2 as pb
from engine.serve.openai_shapes import validate
from engine.serve.other_shapes import TokenizeBody

Answer = TypeVar("Answer", bound=Message)


def read_chat(request: pb.ChatRequest, *, stream: bool) -> ChatBody:
    """Return a chat's body.

    Raises:
        RequestRefused: it is wrong; the sentence is the HTTP side's.
    """
    body = _read(request)
    body["messages"] = [_read_turn(turn) for turn in body.get("messages", [])]
    body["tools"] = [
        {"type": "function", "function": _parse_field(function, "parameters", "tools")}
        for function in body.get("tools", [])
    ]
    if name := body.pop("tool_name", None):
        body["tool_choice"] = {"type": "function", "function": {"name": name}}
    bound = body.get("response_format")
    if bound and "json_schema" in bound:
        _parse_field(bound, "json_schema", "response_format")
        bound["json_schema"] = {"name": "schema", "schema": bound["json_schema"]}
    return validate(ChatBody, body | {"stream": stream})


def read_completion(request: pb.CompleteRequest, *, stream: bool) -> CompletionBody:
    """Return a completion's body.

    Raises:
        RequestRefused: it is wrong; the sentence is the HTTP side's.
    """
    body = _read(request)
    if "prompt_tokens" in body:
        body["prompt"] = body.pop("prompt_tokens").get("ids", [])
    return validate(CompletionBody, body | {"stream": stream})


def read_tokenize(request: pb.TokenizeRequest) -> TokenizeBody:
    """Return what the tokens are asked of.

    Raises:
        RequestRefused: it is wrong; the sentence is the HTTP side's.
    """
    body = _read(request)
    if "messages" in body:
        body["messages"] = [_read_turn(turn) for turn in body["messages"]]
    return validate(TokenizeBody, body)


def write(shaped: dict[str, Any], answer: Answer) -> Answer:
    """Fill a message with what the HTTP side would answer; fields that gRPC has not are left."""
    return ParseDict(shaped, answer, ignore_unknown_fields=True)


def _read(request: Message) -> dict[str, Any]:
    body: dict[str, Any] = MessageToDict(request, preserving_proto_field_name=True)
    return body | body.pop("sampling", {})


def _read_turn(turn: dict[str, Any]) -> dict[str, Any]:
    if turn.get("role") != "assistant":
        turn.setdefault("content", "")
    for call in turn.get("tool_calls", []):
        call.pop("index", None)
    return turn


def _parse_field(holder: dict[str, Any], name: str, param: str) -> dict[str, Any]:
    """Replace a field that is JSON as text by what it says."""
    if name in holder:
        try:
            holder[name] = json.loads(holder[name])
        except ValueError as error:
            raise RequestRefused(
                "bad_request", f"{param}: {name} is no JSON: {error}.", field=param
            ) from error
    return holder
