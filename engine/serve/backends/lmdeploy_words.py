"""Requests in LMDeploy's words: told in full, and refused where it would pass something over.

It takes fields that it does nothing with and drops those that it does not know, both in silence
(0.18: `lmdeploy/serve/openai/protocol.py` and the endpoints beside it).
"""

from typing import Any

from engine.serve.backend import ChatRequest, RequestRefused, Sampling, TextRequest
from engine.serve.backends.words import write_body

# What it does nothing with, wherever it is asked for, and what helps instead.
_IDLE = {
    "frequency_penalty": "use repetition_penalty",
    "presence_penalty": "use repetition_penalty",
    "stop_token_ids": "use stop",
}


def write_lmdeploy_body(
    request: ChatRequest | TextRequest, *, has_pytorch_engine: bool
) -> dict[str, Any]:
    """Write what is asked, but for stop texts: it finds only those within one token.

    Its own defaults are the model's, or a temperature of 0.8 and a top_k of 50: nothing of how it
    draws is left to them.

    Raises:
        RequestRefused: it would pass over something of this.
    """
    sampling = request.sampling
    plain = Sampling()
    for field, mend in _IDLE.items():
        if getattr(sampling, field) != getattr(plain, field):
            raise _make_refusal(field, f"does nothing with it: {mend}")
    if sampling.logit_bias and not (has_pytorch_engine and isinstance(request, ChatRequest)):
        raise _make_refusal("logit_bias", "does nothing with it here: leave it out")
    if isinstance(request, TextRequest):
        _check_text(request)
    body = write_body(request)
    body.pop("stop", None)
    return body | {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k if sampling.temperature else 1,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
    }


def _check_text(request: TextRequest) -> None:
    if not isinstance(request.prompt, str):
        raise _make_refusal("prompt", "reads no token ids: send a text")
    if request.sampling.num_logprobs is not None:
        raise _make_refusal("logprobs", "tells them in chats only: leave it out, or ask a chat")
    if request.sampling.constraint is not None:
        raise _make_refusal(
            "response_format", "keeps to it in chats only: leave it out, or ask a chat"
        )


def _make_refusal(field: str, what: str) -> RequestRefused:
    return RequestRefused("not_supported", f"{field}: LMDeploy {what}.", field=field)
