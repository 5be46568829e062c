"""What the HTTP side takes and gives, in OpenAI's shapes: what all of its doors share.

A parameter that changes the answer and that we lack is refused by name; none is ignored silently.
Shapes: https://platform.openai.com/docs/api-reference. What OpenAI has no word for is named as
vLLM names it. Each door has a file of its own: `chat_shapes`, `completion_shapes`, `other_shapes`.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.serve.backend import Constraint, RequestRefused, Sampling, ServedModel

# Parameters of OpenAI's that we lack, and the values that ask for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "store": (False,),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
}
# Parameters that name the caller or the call, and never change an answer.
_PASSED_OVER = frozenset({"user", "safety_identifier", "metadata", "prompt_cache_key"})

StopText = Annotated[str, Field(min_length=1, max_length=1024)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
TokenId = Annotated[int, Field(ge=0)]


class Shape(BaseModel):
    """A body or a part of one: what it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, body: Any) -> Any:
        """Take null as not given: clients echo answers of ours with many fields as null."""
        return drop_none(body)


class Body(Shape):
    """A whole body: its texts are looked at once, whichever part they are in."""

    @model_validator(mode="before")
    @classmethod
    def _check_texts(cls, body: Any) -> Any:
        check_texts(body)
        return body


BodyType = TypeVar("BodyType", bound=Body)


class StreamOptions(Shape):
    """How an answer is streamed."""

    include_usage: bool = False


class AskBody(Body):
    """What all bodies that ask for an answer have in common."""

    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = Field(default=1, ge=1, le=128)
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    # Alone, an empty text is how some programs say that there is none.
    stop: StopText | Literal[""] | Annotated[list[StopText], Field(max_length=16)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    frequency_penalty: Penalty = 0.0
    presence_penalty: Penalty = 0.0
    logit_bias: dict[TokenId, Annotated[float, Field(ge=-100, le=100)]] = Field(
        default={}, max_length=1024
    )
    top_k: int = Field(default=0, ge=-1, le=2**31)
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0, le=10)
    ignore_eos: bool = False
    stop_token_ids: list[TokenId] = Field(default=[], max_length=64)
    regex: str | None = Field(default=None, min_length=1, max_length=65_536)
    grammar: str | None = Field(default=None, min_length=1, max_length=262_144)

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if not _is_neutral(name, value)}

    def to_sampling(self, **known: Any) -> Sampling:
        """Return how an answer is drawn; `known` is what only one door's body has."""
        given = self.stop or []
        stop = [given] if isinstance(given, str) else given
        values: dict[str, Any] = {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_k": max(self.top_k, 0),
            "top_p": self.top_p,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "frequency_penalty": self.frequency_penalty,
            "presence_penalty": self.presence_penalty,
            "logit_bias": tuple(sorted(self.logit_bias.items())),
            "stop": tuple(stop),
            "stop_token_ids": tuple(self.stop_token_ids),
            "ignores_end": self.ignore_eos,
            "seed": self.seed,
            "constraint": self.find_constraint(),
        }
        return Sampling(**values | known)

    def find_constraint(self) -> Constraint | None:
        """Return what the whole answer must match.

        Raises:
            RequestRefused: more than one thing is asked for.
        """
        asked = self.list_constraints()
        if len(asked) > 1:
            (first, _), (second, _) = asked[:2]
            raise RequestRefused(
                "bad_request", f"{second} cannot go with {first}: keep one of them.", field=second
            )
        return asked[0][1] if asked else None

    def list_constraints(self) -> list[tuple[str, Constraint]]:
        """Return each parameter that binds the answer, and how."""
        asked = []
        if self.regex is not None:
            asked.append(("regex", Constraint("regex", self.regex)))
        if self.grammar is not None:
            asked.append(("grammar", Constraint("grammar", self.grammar)))
        return asked

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            RequestRefused: names the parameter and the mend.
        """
        if self.stream_options and not self.stream:
            raise RequestRefused(
                "bad_request",
                "stream_options is for streams: set stream to true or leave it out.",
                field="stream_options",
            )


def validate(shape: type[BodyType], body: dict[str, Any]) -> BodyType:
    """Check a body that did not come over HTTP by the same rules.

    Raises:
        RequestRefused: it is wrong, in the sentence that HTTP would say.
    """
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        message, param = explain_body(error.errors())
        raise RequestRefused("bad_request", message, field=param) from error


def explain_body(problems: Sequence[Any]) -> tuple[str, str | None]:
    """Return one sentence on the first of pydantic's problems, and the parameter's name."""
    first = _choose_problem(problems)
    param = name_place(first["loc"])
    if first["type"] == "json_invalid":
        return f"The body is no JSON: {first['msg']}.", None
    if not param and first["type"] in ("model_attributes_type", "missing"):
        return "The body must be a JSON object, sent as Content-Type: application/json.", None
    if first["type"].startswith("union_tag"):
        tag = first["ctx"]["discriminator"].strip("'")
        param = f"{param}.{tag}" if param else tag
        known = first["ctx"].get("expected_tags")
        return f"{param}: take one of {known}." if known else f"{param} is missing; give it.", param
    if first["type"] == "extra_forbidden":
        return f"{param} is not supported here; leave it out.", param
    if first["type"] == "missing":
        return f"{param} is missing; give it.", param
    message = first["msg"].removeprefix("Value error, ")
    return f"{param or 'The body'}: {message}.".replace("..", "."), param


def shape_error(message: str, kind: str, code: str | None, param: str | None) -> dict[str, Any]:
    """Shape an error's body."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def shape_refusal(error: RequestRefused) -> dict[str, Any]:
    """Shape the body of a refusal."""
    kind = "invalid_request_error" if error.status < 429 else "server_busy"
    return shape_error(error.message, kind, error.code, error.field)


def shape_models(models: list[ServedModel]) -> dict[str, Any]:
    """Shape the answer of `GET /v1/models`; `root` and `parent` of an adapter name its base."""
    return {"object": "list", "data": [shape_model(model) for model in models]}


def shape_model(model: ServedModel) -> dict[str, Any]:
    """Shape one model."""
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "athanor",
        "root": model.base or model.name,
        "parent": model.base,
        "max_model_len": model.max_context,
    }


def check_texts(body: Any) -> None:
    """Refuse what no tokenizer takes, here where its author hears of it.

    Raises:
        ValueError: a text holds half a letter, or the body is too deep.
    """
    try:
        json.dumps(body, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a text holds half of a surrogate pair; leave it out") from error
    except RecursionError as error:
        raise ValueError("it nests too deep; write it flatter") from error


def drop_none(body: Any) -> Any:
    """Return an object without its nulls; anything else as it is."""
    if not isinstance(body, dict):
        return body
    return {name: value for name, value in body.items() if value is not None}


def name_place(loc: Sequence[Any]) -> str | None:
    """Return where in the body a problem is, such as `messages[0].content`."""
    parts = [part for part in loc if part not in _NO_PLACES]
    # Behind a message's number pydantic puts which kind of message it took it for.
    if len(parts) > 2 and parts[0] in _TAGGED and isinstance(parts[1], int):
        del parts[2]
    elif len(parts) > 1 and parts[0] == "response_format":
        del parts[1]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return name.removeprefix(".") or None


def _choose_problem(problems: Sequence[Any]) -> Any:
    """Return the first, or, of a value that may be of several types, what is deepest in it."""
    first = problems[0]
    if first["loc"][-1:] and first["loc"][-1] in _NO_PLACES:
        same = [one for one in problems if one["loc"][: len(first["loc"]) - 1] == first["loc"][:-1]]
        return max(same, key=lambda one: len(one["loc"]))
    return first


def _is_neutral(name: str, value: Any) -> bool:
    return name in _PASSED_OVER or (name in _NEUTRAL and value in _NEUTRAL[name])


_TAGGED = ("messages",)
# What pydantic and FastAPI put into the place of a problem that is no part of the body.
_NO_PLACES = frozenset(
    {
        "body",
        "str",
        "list[str]",
        "list[TextPart]",
        "constrained-str",
        "list[constrained-str]",
        "list[constrained-int]",
        "list[list[constrained-int]]",
        "literal['none','auto','required']",
        "NamedChoice",
        "[key]",
    }
)
