"""A decoder without a model, and a step loop around it.

Its logits are noise drawn from a digest of adapter and history, and the history is read back from
the pool through the block tables: a wrong block, position or slot gives other tokens.
"""

import queue
import threading
from contextlib import contextmanager

import numpy as np
import torch

from engine.serve.backend import Piece, Sampling
from engine.serve.blocks import BlockPool, make_root
from engine.serve.decoder.step import LoraPair
from engine.serve.loop import LineLimits, StepLoop
from engine.serve.plan import PlanLimits, Planner, Stream
from engine.serve.sampling import History
from engine.serve.tickets import AnswerTicket, EmbedTicket

VOCAB_SIZE = 97
END_ID = 0
BAD_ID = 95  # in a prompt: the pass raises
NAN_ID = 96  # in a prompt: its logits are no numbers
DEADLINE_S = 60


class FakeDecoder:
    """Implements `engine.serve.decoder.step.Decoder`."""

    vocab_size = VOCAB_SIZE
    is_batch_invariant = True
    goes_ahead = False

    def __init__(self, num_blocks: int = 64, block_size: int = 4) -> None:
        self.num_blocks, self.block_size = num_blocks, block_size
        self.pool = np.full((num_blocks, block_size), -1, dtype=np.int64)
        self.slots: dict[int, int] = {}
        self.batches: list[list[int]] = []
        """New tokens of each request, step by step."""
        self.gate = threading.Event()
        self.gate.set()
        self.is_entered = threading.Event()

    def forward(self, batch):
        self.is_entered.set()
        assert self.gate.wait(DEADLINE_S)
        histories, counts = self._write(batch)
        self.batches.append(counts)
        if any(BAD_ID in history for history, _ in histories):
            raise RuntimeError("as told")
        rows = [self._make_logits(*histories[row]) for row in batch.logits_rows_R.tolist()]
        return torch.stack(rows) if rows else torch.empty(0, VOCAB_SIZE)

    def embed(self, batch):
        histories, _ = self._write(batch)
        rows = batch.logits_rows_R.tolist()
        return torch.stack([self._make_logits(*histories[row])[:8] for row in rows])

    def set_adapter(self, slot, pairs):
        self.slots[slot] = int(pairs[0, "query"].a_RI)

    def drop_adapter(self, slot):
        del self.slots[slot]

    def copy_block(self, source, target):
        self.pool[target] = self.pool[source]

    def close(self):
        self.is_closed = True

    def _write(self, batch):
        """Write the new tokens and return what each of them sees, with its adapter's number."""
        starts, tables = batch.query_starts_S1.tolist(), batch.block_tables_SB.numpy()
        histories, counts = [], []
        for index, slot in enumerate(batch.adapters_S.tolist()):
            new = slice(starts[index], starts[index + 1])
            table, size = tables[index], self.block_size
            places = batch.positions_N[new].numpy()
            assert places[-1] + 1 == batch.context_lengths_S[index]
            unread = batch.unread_ids_N
            ids = batch.token_ids_N if unread is None else unread
            self.pool[table[places // size], places % size] = ids[new].numpy()
            seen = self.pool[table[table >= 0]].reshape(-1)
            salt = self.slots[slot] if slot >= 0 else -1
            histories += [(tuple(seen[: place + 1].tolist()), salt) for place in places]
            counts.append(len(places))
        return histories, counts

    @staticmethod
    def _make_logits(history, salt):
        noise = np.random.default_rng([salt + 1, *history]).standard_normal(VOCAB_SIZE)
        noise[END_ID] -= 1  # answers of some length
        noise[[BAD_ID, NAN_ID]] = -100
        if NAN_ID in history:
            noise[:] = np.nan
        return torch.from_numpy(3 * noise).float()


def make_adapter(salt: int) -> dict:
    """An adapter for the fake decoder."""
    return {(0, "query"): LoraPair(torch.tensor(salt), torch.tensor(0))}


class Answer:
    """One answer as its reader sees it; its text is its token ids, each as a character."""

    def __init__(self) -> None:
        self.pieces: queue.Queue[Piece] = queue.Queue()
        self.ended = threading.Event()

    def read(self) -> tuple[str, Piece]:
        """Return the whole text and the last piece, when it is over."""
        text = ""
        while True:
            piece = self.pieces.get(timeout=DEADLINE_S)
            text += piece.text
            if piece.finish:
                return text, piece


@contextmanager
def open_loop(decoder=None, *, max_batch_tokens=32, max_running=8, max_waiting=1000, **options):
    """Run a step loop; `options` are of the decoder, the planner and the line."""
    has_cache = options.pop("has_cache", True)
    most_running = options.pop("max_running_of_tenant", None)
    most_waiting = options.pop("max_waiting_of_tenant", None)
    clock = {"clock": options.pop("clock")} if "clock" in options else {}
    decoder = decoder or FakeDecoder(**options)
    pool = BlockPool(decoder.num_blocks, block_size=decoder.block_size, has_cache=has_cache)
    planner = Planner(pool, PlanLimits(max_batch_tokens, max_running, most_running))
    loop = StepLoop(decoder, planner, LineLimits(max_waiting, most_waiting), **clock)
    loop.decoder, loop.planner = decoder, planner
    try:
        yield loop
    finally:
        if isinstance(decoder, FakeDecoder):
            decoder.gate.set()
        loop.close()
        assert pool.num_used == 0


def decode(ids) -> str:
    """Write each token as a letter of its own."""
    return "".join(chr(0x4E00 + token_id) for token_id in ids)


def make_ticket(prompt, sampling=None, *, tenant="", slot=-1, adapter=b"", answer=None, **options):
    """Make the ticket of a prompt and its reader's side."""
    sampling = sampling or Sampling(max_tokens=12, temperature=0)
    answer = answer or Answer()
    stream = Stream(list(prompt), make_root(tenant, adapter), tenant, sampling.max_tokens)
    ticket = AnswerTicket(
        stream=stream,
        slot=slot,
        history=History(sampling, tuple(prompt)),
        end_ids=frozenset([END_ID]),
        decode=decode,
        on_piece=options.get("on_piece", answer.pieces.put),
        on_end=answer.ended.set,
        matcher=options.get("matcher"),
    )
    return ticket, answer


def ask(loop, prompt, sampling=None, **options) -> str:
    """Return a whole answer."""
    ticket, answer = make_ticket(prompt, sampling, **options)
    loop.enter(ticket)
    return answer.read()[0]


def make_text_ticket(prompt, slot=-1) -> EmbedTicket:
    """Make the ticket of a text to embed."""
    return EmbedTicket(stream=Stream(list(prompt)), slot=slot)
