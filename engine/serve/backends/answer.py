"""One answer of another server: its stream read in a thread, and turned into pieces."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from engine.serve.backend import FinishReason, OnPiece, Piece, Usage
from engine.serve.backends.words import read_logprobs, word_error


class RemoteAnswer(threading.Thread):
    """Reads one answer's stream."""

    def __init__(
        self, response: httpx.Response, on_piece: OnPiece, on_end: Callable[[Piece], None]
    ) -> None:
        super().__init__(name="remote answer", daemon=True)
        self.num_prompt_tokens = 0  # told at the end
        self._response = response
        self._on_piece = on_piece
        self._on_end = on_end
        self._is_aborted = False
        self._num_tokens = 0
        self._usage: Usage | None = None
        self._finish: FinishReason | None = None
        self._calls: dict[int, list[str]] = {}

    def abort(self) -> None:
        """Hang up, which frees the place on the other side."""
        self._is_aborted = True
        stream = self._response.extensions.get("network_stream")
        line = stream.get_extra_info("socket") if stream else None
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)  # wakes the reader, as closing would not

    def run(self) -> None:
        """Read to the end and say how it was."""
        try:
            message = self._read()
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            message = f"The connection to the other server broke: {word_error(error)}"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"The other server's answer makes no sense: {error!r}"
        finally:
            with contextlib.suppress(Exception):
                self._response.close()
        if self._finish and not message:
            last = Piece("", self._num_tokens, self._finish, usage=self._usage)
        elif self._is_aborted:
            last = Piece("", self._num_tokens, "abort")
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
                self._take_choice(choice)
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

    def _take_choice(self, choice: dict[str, Any]) -> None:
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
            self._on_piece(Piece(text, self._num_tokens, logprobs=logprobs))
        if finish := choice.get("finish_reason"):
            self._finish = "length" if finish == "length" else "stop"

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
