"""Bodies and answers of `/v1/chat/completions`, with tools and bound formats."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from engine.serve.answer_shape import AnswerHead, AnswerShape, shape_token
from engine.serve.backend import Constraint, FinishReason, Piece, RequestRefused, TokenLogprob
from engine.serve.openai_shapes import AskBody, Shape
from engine.serve.tool_calls import Call, ToolParser

FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]


class TextPart(Shape):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


Content = str | list[TextPart]


class CalledFunction(Shape):
    """What a model called."""

    name: str
    arguments: str = "{}"

    @field_validator("arguments")
    @classmethod
    def _check_arguments(cls, text: str) -> str:
        if not isinstance(_parse(text or "{}"), dict):
            raise ValueError("write a JSON object as text")
        return text or "{}"


class ToolCall(Shape):
    """A call in an earlier answer."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class PlainMessage(Shape):
    """A turn that is words only."""

    role: Literal["system", "developer", "user"]
    content: Content


class AssistantMessage(Shape):
    """An earlier answer: words, calls, or both."""

    role: Literal["assistant"]
    content: Content = ""
    tool_calls: list[ToolCall] = []

    @model_validator(mode="before")
    @classmethod
    def _check_words(cls, turn: Any) -> Any:
        if isinstance(turn, dict) and not turn.get("tool_calls") and turn.get("content") is None:
            raise ValueError("an assistant's turn has content or tool_calls")
        return turn


class ToolMessage(Shape):
    """What a called function gave."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str


Message = Annotated[PlainMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


class Function(Shape):
    """A function that the model may call."""

    name: FunctionName
    description: str = ""
    parameters: dict[str, Any] = Field(default={"type": "object", "properties": {}})
    strict: bool = False


class Tool(Shape):
    """A tool: functions are the only kind."""

    type: Literal["function"]
    function: Function


class NamedFunction(Shape):
    """The name of a function."""

    name: str


class NamedChoice(Shape):
    """The function that must be called."""

    type: Literal["function"]
    function: NamedFunction


class TextFormat(Shape):
    """An answer in words."""

    type: Literal["text"]


class ObjectFormat(Shape):
    """An answer that is some JSON object."""

    type: Literal["json_object"]


class NamedSchema(Shape):
    """A JSON Schema with a name that only people read."""

    name: str
    description: str = ""
    schema_: dict[str, Any] = Field(default={}, alias="schema")
    strict: bool = False


class SchemaFormat(Shape):
    """An answer that is JSON after a schema; always kept, whatever `strict` says."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")]


class ChatBody(AskBody):
    """Body of `POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[Tool] = Field(default=[], max_length=128)
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool = True

    def to_turns(self) -> list[dict[str, Any]]:
        """Return the conversation as chat templates take it."""
        return [_to_turn(message) for message in self.messages]

    def list_constraints(self) -> list[tuple[str, Constraint]]:
        """Return each parameter that binds the answer, and how."""
        asked = super().list_constraints()
        if isinstance(self.response_format, ObjectFormat):
            asked.append(("response_format", Constraint("json_object")))
        elif isinstance(self.response_format, SchemaFormat):
            schema = json.dumps(self.response_format.json_schema.schema_, ensure_ascii=False)
            asked.append(("response_format", Constraint("json_schema", schema)))
        return asked

    @property
    def usable_tools(self) -> tuple[dict[str, Any], ...]:
        """Functions that the model is told of, as chat templates take them."""
        if self.tool_choice == "none":
            return ()
        return tuple(tool.model_dump(exclude={"function": {"strict"}}) for tool in self.tools)

    @property
    def wanted_call(self) -> str:
        """auto, required, or `=` and a function's name."""
        if isinstance(self.tool_choice, NamedChoice):
            return f"={self.tool_choice.function.name}"
        return self.tool_choice or "auto"

    def check(self) -> None:
        """Refuse what does not go together; see `AskBody.check`."""
        super().check()
        if None not in (self.max_tokens, self.max_completion_tokens) and (
            self.max_tokens != self.max_completion_tokens
        ):
            _refuse("max_tokens", "says another number than max_completion_tokens: keep one.")
        if self.top_logprobs and not self.logprobs:
            _refuse("top_logprobs", "needs logprobs: set it to true.")
        names = [tool.function.name for tool in self.tools]
        for index, tool in enumerate(self.tools):
            if tool.function.name in names[:index]:
                _refuse(f"tools[{index}].function.name", "is taken by an earlier tool: rename it.")
            if tool.function.strict and self.wanted_call == "auto" and self.usable_tools:
                _refuse(
                    f"tools[{index}].function.strict",
                    "can be kept only where a call is certain: set tool_choice to required or to "
                    "the function, or leave strict out.",
                )
        if self.tool_choice not in (None, "none", "auto") and not self.tools:
            _refuse("tool_choice", "asks for a call, and tools is empty: give the tools.")
        if self.wanted_call.startswith("=") and self.wanted_call[1:] not in names:
            _refuse("tool_choice.function.name", f"is none of {', '.join(names)}.")
        asked = self.list_constraints()
        if asked and self.usable_tools:
            _refuse(asked[0][0], "leaves no room for tool calls: set tool_choice to none.")


class ChatAnswer(AnswerShape):
    """Shapes an answer of a chat, whole or in chunks."""

    kind = "chat.completion"

    def __init__(
        self, head: AnswerHead, parsers: list[ToolParser | None], *, wants_logprobs: bool
    ) -> None:
        super().__init__(head, num_choices=len(parsers))
        self._parsers = parsers
        self._wants_logprobs = wants_logprobs
        self._texts = [""] * len(parsers)
        self._calls: list[list[Call]] = [[] for _ in parsers]
        self._tokens: list[list[TokenLogprob]] = [[] for _ in parsers]
        self._waiting: list[list[TokenLogprob]] = [[] for _ in parsers]  # text is held back
        self._finishes: list[str | None] = [None] * len(parsers)

    def open(self, index: int) -> list[dict[str, Any]]:
        """Shape what a stream says of an answer before its first piece."""
        return [self._chunk(index, {"role": "assistant", "content": ""})]

    def push(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        """Take a piece in and shape the events that it makes."""
        self.count(index, piece)
        self._tokens[index] += piece.logprobs
        self._waiting[index] += piece.logprobs
        text, calls = piece.text, []
        parser = self._parsers[index]
        if parser:
            found = parser.push(text)
            if piece.finish:
                found = found + parser.flush()
            text, calls = found.text, list(found.calls)
        events = self._shape_text(index, text) + self._shape_calls(index, calls)
        if piece.finish:
            self._finishes[index] = self._name_finish(index, piece.finish)
            events.append(self._chunk(index, {}, self._finishes[index]))
        return events

    def whole(self) -> dict[str, Any]:
        """Shape the body of an answer that is not streamed."""
        return self.head() | {
            "object": self.kind,
            "choices": [self._choice(index) for index in range(self.num_choices)],
            "usage": self.usage(),
        }

    def _choice(self, index: int) -> dict[str, Any]:
        calls = [shape_call(call) for call in self._calls[index]]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self._texts[index] or (None if calls else ""),
            "refusal": None,
        }
        return {
            "index": index,
            "message": message | ({"tool_calls": calls} if calls else {}),
            "logprobs": self._shape_logprobs(self._tokens[index]),
            "finish_reason": self._finishes[index],
        }

    def _shape_text(self, index: int, text: str) -> list[dict[str, Any]]:
        if not text and not (self._waiting[index] and self._parsers[index] is None):
            return []
        self._texts[index] += text
        return [self._chunk(index, {"content": text})]

    def _shape_calls(self, index: int, calls: list[Call]) -> list[dict[str, Any]]:
        """Shape each call as clients expect it: its name first, then its arguments."""
        events = []
        for call in calls:
            number = len(self._calls[index])
            self._calls[index].append(call)
            shaped = shape_call(call)
            begun = shaped | {"function": shaped["function"] | {"arguments": ""}}
            rest = {"function": {"arguments": call.arguments}}
            for part in (begun, rest):
                events.append(self._chunk(index, {"tool_calls": [{"index": number} | part]}))
        return events

    def _name_finish(self, index: int, finish: FinishReason) -> str:
        return "tool_calls" if self._calls[index] and finish == "stop" else finish

    def _chunk(
        self, index: int, delta: dict[str, Any], finish: str | None = None
    ) -> dict[str, Any]:
        logprobs = None
        if delta.get("role") is None:
            logprobs = self._shape_logprobs(self._waiting[index]) if self._waiting[index] else None
            self._waiting[index] = []
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self.head() | {"object": f"{self.kind}.chunk", "choices": [choice]}

    def _shape_logprobs(self, tokens: list[TokenLogprob]) -> dict[str, Any] | None:
        if not self._wants_logprobs:
            return None
        content = [
            shape_token(one.token, one.logprob)
            | {"top_logprobs": [shape_token(text, logprob) for _, text, logprob in one.top]}
            for one in tokens
        ]
        return {"content": content, "refusal": None}


def shape_call(call: Call) -> dict[str, Any]:
    """Shape one call."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _to_turn(message: PlainMessage | AssistantMessage | ToolMessage) -> dict[str, Any]:
    content = message.content
    if not isinstance(content, str):
        content = "".join(part.text for part in content)
    turn: dict[str, Any] = {"role": message.role, "content": content}
    if message.role == "developer":
        turn["role"] = "system"
    if isinstance(message, ToolMessage):
        turn["tool_call_id"] = message.tool_call_id
    if isinstance(message, AssistantMessage) and message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.function.name,
                    "arguments": _parse(call.function.arguments),
                },
            }
            for call in message.tool_calls
        ]
    return turn


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _refuse(field: str, why: str) -> None:
    raise RequestRefused("bad_request", f"{field} {why}", field=field)
