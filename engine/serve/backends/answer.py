"""One answer of another server: its stream read in a thread, and turned into pieces."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx

from engine.serve.answer_text import StopText
from engine.serve.backend import FinishReason, OnPiece, Piece, Usage
from engine.serve.backends.hang_up import HangUp
from engine.serve.backends.words import read_logprobs, word_error

# What servers say of answers that they have given up on.
_GIVEN_UP = frozenset({"abort", "error", "parse_error"})


class RemoteAnswer(threading.Thread):
    """Reads one answer's stream."""

    def __init__(
        self,
        response: httpx.Response,
        on_piece: OnPiece,
        on_end: Callable[[Piece], None],
        *,
        hang_up: HangUp,
        stops: Sequence[str] = (),
    ) -> None:
        """`stops` are texts that end it here, for a server that cannot look for them itself."""
        super().__init__(name="remote answer", daemon=True)
        self.num_prompt_tokens = 0  # told at the end
        self._response = response
        self._on_piece = on_piece
        self._on_end = on_end
        self._hang_up = hang_up
        hang_up.take_stream(response.extensions.get("network_stream"))
        self._stops = StopText(stops)
        self._num_tokens = 0
        self._usage: Usage | None = None
        self._finish: FinishReason | None = None
        self._calls: dict[int, list[str]] = {}

    def abort(self) -> None:
        """Hang up, which frees the place on the other side."""
        self._hang_up.hang_up()

    def run(self) -> None:
        """Read to the end and say how it was."""
        try:
            message = self._read()
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            message = f"The connection to the other server broke: {word_error(error)}"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"The other server's answer makes no sense: {error!r}"
        finally:
            self._hang_up.end()
            with contextlib.suppress(Exception):
                self._response.close()
        if self._finish and not message:
            rest = "" if self._stops.is_hit else self._stops.flush()
            last = Piece(rest, self._num_tokens, self._finish, usage=self._usage)
        elif (why := self._hang_up.why) is not None:
            last = Piece("", self._num_tokens, "abort", message=why)
        else:
            message = message or "The other server ended the answer before it was done."
            last = Piece("", self._num_tokens, "error", message=message)
        self._on_end(last)
        self._on_piece(last)

    def _read(self) -> str:
        """Pass the pieces on; return what went wrong on the other side, or nothing."""
        for event in self._read_events():
            if "error" in event:
                error = event["error"]
                return str(error.get("message", error) if isinstance(error, dict) else error)
            if event.get("usage"):
                self._take_usage(event["usage"])
            for choice in event.get("choices", []):
                if message := self._take_choice(choice):
                    return message
            if self._stops.is_hit:
                return ""
        if self._calls:
            self._on_piece(Piece(self._write_calls(), self._num_tokens))
        return ""

    def _read_events(self) -> Iterator[dict[str, Any]]:
        for line in self._response.iter_lines():
            data = line.removeprefix("data:").strip()
            if not line.startswith("data:") or not data:
                continue
            if data == "[DONE]":
                return
            yield json.loads(data)

    def _take_choice(self, choice: dict[str, Any]) -> str:
        """Pass on what a choice brings; return what went wrong with it, or nothing."""
        delta = choice.get("delta", {})
        text = choice.get("text") or delta.get("content") or ""
        logprobs = read_logprobs(choice.get("logprobs"))
        for call in delta.get("tool_calls") or []:
            parts = self._calls.setdefault(call.get("index", 0), ["", ""])
            function = call.get("function") or {}
            parts[0] += function.get("name") or ""
            parts[1] += function.get("arguments") or ""
        if text or logprobs:
            self._num_tokens += max(1, len(logprobs))  # the usage at the end says it exactly
            sure = self._stops.push(text)
            if sure or logprobs:
                self._on_piece(Piece(sure, self._num_tokens, logprobs=logprobs))
        finish = choice.get("finish_reason")
        if finish in _GIVEN_UP:
            return f"The other server ended the answer by itself: {finish}."
        if finish or self._stops.is_hit:
            is_cut = finish == "length" and not self._stops.is_hit
            self._finish = "length" if is_cut else "stop"
        return ""

    def _take_usage(self, usage: dict[str, Any]) -> None:
        self._num_tokens = usage.get("completion_tokens") or self._num_tokens
        details = usage.get("prompt_tokens_details") or {}
        timing = usage.get("timing") or {}
        self._usage = Usage(
            num_prompt_tokens=usage.get("prompt_tokens") or 0,
            num_cached_tokens=details.get("cached_tokens") or 0,
            num_tokens=self._num_tokens,
            queue_s=timing.get("queue_s", 0.0),
            prefill_s=timing.get("prefill_s", 0.0),
            decode_s=timing.get("decode_s", 0.0),
        )

    def _write_calls(self) -> str:
        calls = []
        for _, (name, arguments) in sorted(self._calls.items()):
            head = json.dumps({"name": name})[:-1]
            calls.append(f'<tool_call>\n{head}, "arguments": {arguments or "{}"}}}\n</tool_call>')
        return "\n".join(calls)
