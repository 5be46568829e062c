"""Requests in OpenAI's words for another server, and its answers and refusals read back."""

import contextlib
import json
from typing import Any

import httpx

from engine.serve.backend import (
    ChatRequest,
    QueueFull,
    RequestRefused,
    TextRequest,
    TokenLogprob,
)

# Field of Sampling -> parameter; those behind seed are vLLM's, which most servers know, too.
_PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_tokens",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "ignores_end": "ignore_eos",
}


def write_body(request: ChatRequest | TextRequest) -> dict[str, Any]:
    """Write what is asked in OpenAI's words; what asks for nothing is left out."""
    sampling = request.sampling
    plain = type(sampling)()
    body: dict[str, Any] = {
        name: getattr(sampling, field)
        for field, name in _PARAMETERS.items()
        if getattr(sampling, field) != getattr(plain, field)
    }
    for name in ("stop", "stop_token_ids"):
        if getattr(sampling, name):
            body[name] = list(getattr(sampling, name))
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    if isinstance(request, TextRequest):
        if sampling.num_logprobs is not None:
            body["logprobs"] = sampling.num_logprobs
        is_text = isinstance(request.prompt, str)
        return (
            body
            | _write_format(request)
            | {"prompt": request.prompt if is_text else list(request.prompt)}
        )
    if sampling.num_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.num_logprobs}
    if request.tools:
        body |= {"tools": list(request.tools), "tool_choice": _write_choice(request.tool_choice)}
        if not request.parallel_tool_calls:
            body["parallel_tool_calls"] = False
    else:
        body |= _write_format(request)
    return body | {"messages": write_turns(request)}


def _write_format(request: ChatRequest | TextRequest) -> dict[str, Any]:
    constraint = request.sampling.constraint
    if constraint is None:
        return {}
    if constraint.kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    if constraint.kind == "json_schema":
        schema = {"name": "schema", "schema": json.loads(constraint.text)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    raise RequestRefused(
        "not_supported",
        f"{constraint.kind} has no common word among servers: use response_format.",
        field=constraint.kind,
    )


def _write_choice(choice: str) -> Any:
    if choice.startswith("="):
        return {"type": "function", "function": {"name": choice[1:]}}
    return choice


def write_turns(request: ChatRequest) -> list[dict[str, Any]]:
    """Write turns as OpenAI has them: the arguments of calls are text."""
    turns = []
    for turn in request.messages:
        calls = [
            call
            | {
                "function": call["function"]
                | {"arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False)}
            }
            for call in turn.get("tool_calls", [])
        ]
        turns.append(turn | ({"tool_calls": calls} if calls else {}))
    return turns


def read_logprobs(shaped: dict[str, Any] | None) -> tuple[TokenLogprob, ...]:
    """Read a chat's or a completion's logprobs; ids are not told, and -1."""
    if not shaped:
        return ()
    if "content" in shaped:
        return tuple(
            TokenLogprob(
                -1,
                one["token"],
                one["logprob"],
                tuple((-1, top["token"], top["logprob"]) for top in one.get("top_logprobs") or []),
            )
            for one in shaped["content"] or []
        )
    tops = shaped.get("top_logprobs") or [{}] * len(shaped["tokens"])
    triples = zip(shaped["tokens"], shaped["token_logprobs"], tops, strict=True)
    return tuple(
        TokenLogprob(-1, token, value, tuple((-1, name, one) for name, one in (top or {}).items()))
        for token, value, top in triples
    )


def check_answer(response: httpx.Response) -> None:
    """Pass a refusal on.

    Raises:
        RequestRefused: with the other side's sentence and status.
    """
    if response.is_success:
        return
    code, message, field = "refused", response.text[:500], None
    with contextlib.suppress(ValueError, AttributeError):
        body = response.json()
        error = body.get("error", body)
        if isinstance(error, dict):
            message = str(error.get("message") or error.get("detail") or message)
            code, field = str(error.get("code") or code), error.get("param")
    if response.status_code == 429:
        retry_after = response.headers.get("Retry-After", "1")
        full = QueueFull(0, int(retry_after) if retry_after.isdigit() else 1)
        full.message = message.strip() or "The other server is busy; try again in a moment."
        raise full
    if response.status_code in (401, 403):
        message = f"The other server asks for another token: {message}"
    refusal = RequestRefused(
        code, message.strip() or f"Status {response.status_code}.", field=field
    )
    refusal.status = response.status_code if response.status_code in (400, 404) else 503
    if response.status_code == 422:
        refusal.status = 400
    raise refusal


def make_unreachable(error: Exception) -> RequestRefused:
    """Return what is said where nobody answers."""
    refusal = RequestRefused(
        "unreachable",
        f"The other server cannot be reached: {word_error(error)} Try again in a moment.",
    )
    refusal.status = 503
    return refusal


def word_error(error: Exception) -> str:
    """Return an error as one sentence."""
    words = error.message if isinstance(error, RequestRefused) else str(error)
    return words.rstrip(".") + "." if words else f"{type(error).__name__}."
