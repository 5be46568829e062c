"""Bodies of the small doors: embeddings, tokens and adapters."""

import base64
import struct
from typing import Annotated, Any, Literal

from pydantic import Field

from engine.serve.backend import Embedding, RequestRefused
from engine.serve.chat_shapes import Message, Tool
from engine.serve.openai_shapes import Body, TokenId

_MOST_TEXTS = 2048  # as OpenAI's own


class EmbeddingBody(Body):
    """Body of `POST /v1/embeddings`."""

    model: str
    input: str | list[TokenId] | list[str] | list[list[TokenId]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    user: str | None = None

    def list_texts(self) -> list[str | tuple[int, ...]]:
        """Return each text.

        Raises:
            RequestRefused: there is none, one is empty, or there are too many.
        """
        given = self.input
        texts: list[str | tuple[int, ...]]
        if isinstance(given, str):
            texts = [given]
        elif given and isinstance(given[0], int):
            texts = [tuple(one for one in given if isinstance(one, int))]
        else:
            texts = [one if isinstance(one, str) else tuple(one) for one in given]  # type: ignore[arg-type]
        if not texts or not all(texts):
            raise RequestRefused(
                "bad_request", "input: give texts that are not empty.", field="input"
            )
        if len(texts) > _MOST_TEXTS:
            message = f"input: at most {_MOST_TEXTS} texts at once; send the rest in another."
            raise RequestRefused("bad_request", message, field="input")
        return texts

    def check(self, num_dimensions: int) -> None:
        """Refuse another length of vectors than the model's.

        Raises:
            RequestRefused: dimensions is another.
        """
        if self.dimensions not in (None, num_dimensions):
            raise RequestRefused(
                "bad_request",
                f"dimensions: this model's vectors have {num_dimensions}; leave it out.",
                field="dimensions",
            )


class TokenizeBody(Body):
    """Body of `POST /tokenize`: a text as it is, or a conversation as the model is given it."""

    model: str
    prompt: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    tools: list[Tool] = []


class DetokenizeBody(Body):
    """Body of `POST /detokenize`."""

    model: str
    tokens: list[TokenId]


class LoadBody(Body):
    """Body of `POST /v1/load_lora_adapter`."""

    lora_name: str = Field(min_length=1, max_length=300)
    lora_path: str = Field(min_length=1, max_length=4096)


class UnloadBody(Body):
    """Body of `POST /v1/unload_lora_adapter`."""

    lora_name: str


def shape_embeddings(
    model: str, vectors: list[Embedding], encoding: str, *, tells_time: bool = False
) -> dict[str, Any]:
    """Shape the answer of `POST /v1/embeddings`."""
    data = [
        {"object": "embedding", "index": index, "embedding": _encode(one.vector, encoding)}
        for index, one in enumerate(vectors)
    ]
    num_tokens = sum(one.num_tokens for one in vectors)
    usage: dict[str, Any] = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    if tells_time:
        usage["timing"] = {
            "queue_s": max(one.queue_s for one in vectors),
            "prefill_s": sum(one.prefill_s for one in vectors),
            "decode_s": 0.0,
        }
    return {"object": "list", "model": model, "data": data, "usage": usage}


def _encode(vector: tuple[float, ...], encoding: str) -> list[float] | str:
    if encoding == "float":
        return list(vector)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
