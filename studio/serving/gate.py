"""What a new revision's server has to show before it answers for its model."""

import json
from typing import Any

import httpx

from studio.core.sentences import say
from studio.serving.models import Deployment
from studio.serving.services import get_server_token

_PROMPTS = ("Hello!", "Count from one to five.", "\u4f60\u597d\uff0c\u4f60\u662f\u8c01\uff1f")
_MOST_TOKENS = 16
_WITHIN_S = 60.0


def try_server(deployment: Deployment) -> str:
    """Ask a server three short prompts; return why it may not answer, or an empty text.

    It must be well, and answer each with text. What it says is not judged here: the report card of
    a quantized model, and evaluations, are for that.
    """
    token = get_server_token(deployment.pk)
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(
            base_url=deployment.url, headers=headers, timeout=_WITHIN_S, trust_env=False
        ) as client:
            if client.get("/health").status_code != 200:
                return say("gate_unwell")
            for prompt in _PROMPTS:
                if problem := _ask(client, deployment.served_name, prompt):
                    return problem
    except httpx.TransportError:
        return say("gate_silent")
    return ""


def _ask(client: httpx.Client, model: str, prompt: str) -> str:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": _MOST_TOKENS,
        "temperature": 0,
    }
    answer = client.post("/v1/chat/completions", json=body)
    if answer.status_code != 200:
        return say("gate_refused", prompt=prompt, said=_read_message(answer))
    try:
        text = answer.json()["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        text = None
    return "" if isinstance(text, str) and text.strip() else say("gate_empty", prompt=prompt)


def _read_message(answer: httpx.Response) -> str:
    try:
        body: Any = json.loads(answer.text)
        return str(body["error"]["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
