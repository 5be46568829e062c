"""Writes the masks of constrained answers beside the forward pass, on a thread of its own.

A mask depends on earlier tokens only. One thread does: llguidance holds Python's lock while it
writes, which the pass, begun in the same moment, does without. V vocabulary, R rows.
"""

import queue
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future

import torch
from torch import Tensor

from engine.serve.constraints import Matcher, make_masks


class MaskWriter:
    """The masks of one step after the other. All but `close` is for the decoding thread."""

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._orders: queue.SimpleQueue[tuple[Matcher, Future[Tensor]] | None] = queue.SimpleQueue()
        self._begun: dict[Matcher, Future[Tensor]] = {}
        self._thread = threading.Thread(target=self._run, name="masks", daemon=True)
        self._thread.start()

    def begin(self, matchers: Iterable[Matcher | None]) -> None:
        """Have masks written, each once until `forget`."""
        for matcher in matchers:
            if matcher is not None and matcher not in self._begun:
                self._begun[matcher] = Future()
                self._orders.put((matcher, self._begun[matcher]))

    def collect(self, matchers: Sequence[Matcher | None]) -> Tensor | None:
        """Wait for masks that were begun: R x V, True where allowed; None where all are.

        Raises:
            ValueError: a grammar has become too complex to follow; whatever else a matcher raises.
        """
        if not any(matchers):
            return None
        every_V = torch.ones(self._vocab_size, dtype=torch.bool)
        return torch.stack(
            [every_V if each is None else self._begun[each].result() for each in matchers]
        )

    def forget(self) -> None:
        """Begin a new step: every matcher may have gone on by a token."""
        self._begun.clear()

    def close(self) -> None:
        """End the thread, once what was begun is written."""
        self._orders.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            matcher, outcome = order
            try:
                outcome.set_result(make_masks([matcher], self._vocab_size)[0])
            except Exception as error:  # raised where the mask is collected
                outcome.set_exception(error)
