"""The in-repo backend: names, conversations and checks around the loop that makes the tokens.

`native` makes one from a spec.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerBase

from engine.data.render import Renderer
from engine.serve.answer_text import Decode
from engine.serve.backend import (
    BackendFacts,
    ChatRequest,
    Departure,
    Embedding,
    EmbedFailed,
    EmbedRequest,
    Generation,
    HeldModel,
    ModelUnknown,
    OnPiece,
    QueueFull,
    Request,
    RequestRefused,
    Sampling,
    ServedModel,
    TextRequest,
    WaitTooLong,
)
from engine.serve.blocks import BlockPool, make_root
from engine.serve.constraints import Grammars, Matcher
from engine.serve.decoder.step import Decoder
from engine.serve.loop import LineLimits, StepLoop
from engine.serve.plan import PlanLimits, Planner, Stream
from engine.serve.sampling import History
from engine.serve.shelf import Adapter, Held, Shelf
from engine.serve.tickets import AnswerTicket, EmbedTicket
from engine.specs import ServeSpec, split_ref

NUM_ADAPTER_SLOTS = 256
_SLACK = 4  # between letters and tokens: some tokenizers drop blanks or join letters first
_LEFT = "Whoever asked for this has left."
_NUM_TEXTS = 8  # of one embedding request that are in the line at once
_TOO_LONG = {
    "messages": ("The messages take", "shorten the messages or lower max_tokens"),
    "prompt": ("The prompt takes", "shorten the prompt or lower max_tokens"),
    "input": ("A text of the input takes", "shorten the text"),
}


@dataclass(frozen=True)
class OpenedModel:
    """A base model, ready to serve."""

    decoder: Decoder
    """The backend takes it over: nobody else may use it until `close`."""
    tokenizer: PreTrainedTokenizerBase
    end_ids: frozenset[int]
    max_positions: int
    engine: str
    device: str
    quantization: str
    arithmetic: str
    """What computes, and how: whatever sums or rounds in another way has other words."""
    digest: str
    """Of the base's content."""


class NativeBackend:
    """Implements `engine.serve.backend.Backend`."""

    def __init__(
        self, spec: ServeSpec, model: OpenedModel, read_adapter: Callable[[str], Adapter]
    ) -> None:
        decoder = model.decoder
        self._name = spec.model
        self._aliases = {spec.model, split_ref(spec.model)[0], Path(spec.model).name}
        self._max_context = min(
            spec.max_context, model.max_positions, decoder.num_blocks * decoder.block_size
        )
        self._model = model
        self._precisions = (spec.precision, spec.kv_precision)
        self._vocab_size = decoder.vocab_size
        self._tokenizer = model.tokenizer
        longest = max(map(len, model.tokenizer.get_vocab()))
        self._most_letters = _SLACK * self._max_context * longest
        self._renderer = Renderer(model.tokenizer, max_length=self._max_context)
        self._tokenizer_lock = threading.Lock()  # a fast tokenizer takes one encoder at a time
        self._grammars = Grammars(model.tokenizer, decoder.vocab_size, model.end_ids)
        self._num_blocks = decoder.num_blocks
        self._loop = _start_loop(spec, decoder)
        self._shelf = Shelf(
            read_adapter,
            self._loop.between_steps,
            num_slots=NUM_ADAPTER_SLOTS,
            memory_bytes=spec.adapter_memory_bytes,
            kept=frozenset(spec.adapters),
            taken=frozenset(self._aliases),
        )

    def list_models(self) -> list[ServedModel]:
        """Return the base first, then the loaded adapters by name."""
        base = ServedModel(self._name, None, self._max_context)
        names = self._shelf.list_names()
        return [base, *(ServedModel(name, self._name, self._max_context) for name in names)]

    def submit(self, request: ChatRequest | TextRequest, on_piece: OnPiece) -> Generation:
        """Queue a request; see `Backend.submit`."""
        return self._enter(request, self._hold(request.model), on_piece)

    def hold(self, model: str) -> HeldModel:
        """Keep what answers under a name; see `HoldingBackend.hold`."""
        held = self._hold(model)
        return _Held(self, held, self._sign("" if held is None else held.digest))

    def embed(self, request: EmbedRequest, departure: Departure | None = None) -> list[Embedding]:
        """Return a vector for each text; see `Backend.embed`."""
        held = self._hold(request.model)
        try:
            prompts = [self._encode(text, "input") for text in request.texts]
            for prompt in prompts:
                self._check_prompt(prompt, "input")
            tickets = self._embed_all(prompts, held, request, departure or Departure())
        finally:
            self._let_go(held)
        return [_shape_embedding(ticket) for ticket in tickets]

    def tokenize(self, request: ChatRequest | TextRequest) -> list[int]:
        """Return a request's prompt as token ids; see `Backend.tokenize`."""
        self._let_go(self._hold(request.model))
        return self._read_prompt(request)[0]

    def detokenize(self, model: str, token_ids: Sequence[int]) -> str:
        """Return the text of token ids, special tokens included."""
        self._let_go(self._hold(model))
        self._check_ids(token_ids, "tokens")
        return self._decode(token_ids, skips_special=False)

    def describe(self) -> BackendFacts:
        """Say what it is and how busy."""
        num_running, num_waiting, num_used, num_preemptions = self._loop.count_now()
        counts, model = self._loop.counts, self._model
        digests = [(self._name, ""), *self._shelf.list_digests()]
        return BackendFacts(
            engine=model.engine,
            device=model.device,
            quantization=model.quantization,
            chat_template=self._tokenizer.chat_template or "",
            num_running_now=num_running,
            num_waiting_now=num_waiting,
            num_blocks=self._num_blocks,
            num_blocks_used_now=num_used,
            num_steps=counts.num_steps,
            last_step_age_s=self._loop.measure_age_s(),
            num_prompt_tokens=counts.num_prompt_tokens,
            num_cached_tokens=counts.num_cached_tokens,
            num_tokens=counts.num_tokens,
            num_preemptions=num_preemptions,
            num_finished=counts.num_finished,
            num_failed=counts.num_failed,
            busy_s=counts.busy_s,
            fingerprints=tuple((name, self._sign(digest)) for name, digest in digests),
        )

    def load_adapter(self, name: str, ref: str) -> None:
        """Make an adapter answer under `name`; see `Backend.load_adapter`.

        Raises:
            EngineError: bad_model, when it cannot be fetched or does not fit.
        """
        self._shelf.load(name, ref)

    def unload_adapter(self, name: str) -> None:
        """Take a name away; see `Backend.unload_adapter`."""
        self._shelf.unload(name)

    def is_healthy(self) -> bool:
        """Say whether it still makes tokens."""
        return self._loop.is_healthy()

    def close(self, drain_s: float = 0.0) -> None:
        """Let what is under way go on for up to `drain_s`, then abort it and end the threads."""
        self._loop.close(drain_s)
        self._model.decoder.close()

    def _hold(self, name: str) -> Held | None:
        """Take part in the use of what answers under a name; None is the bare base."""
        try:
            return self._shelf.hold(name)
        except ModelUnknown:
            if name in self._aliases:
                return None
            raise

    def _let_go(self, held: Held | None) -> None:
        if held is not None:
            self._shelf.let_go(held)

    def _join(self, held: Held | None) -> None:
        if held is not None:
            self._shelf.join(held)

    def _enter(
        self, request: ChatRequest | TextRequest, held: Held | None, on_piece: OnPiece
    ) -> Generation:
        """Queue a request, which lets `held` go at its end."""
        try:
            ticket = self._make_ticket(request, held, on_piece)
            self._loop.enter(ticket, request.deadline_s)
        except BaseException:
            self._let_go(held)
            raise
        return _Answer(self._loop, ticket)

    def _make_ticket(
        self, request: ChatRequest | TextRequest, held: Held | None, on_piece: OnPiece
    ) -> AnswerTicket:
        sampling = request.sampling
        prompt_ids, field = self._read_prompt(request)
        self._check_prompt(prompt_ids, field)
        self._check_ids([token_id for token_id, _ in sampling.logit_bias], "logit_bias")
        self._check_ids(sampling.stop_token_ids, "stop_token_ids")
        own_ends = frozenset() if sampling.ignores_end else self._model.end_ids
        return AnswerTicket(
            stream=self._make_stream(
                prompt_ids, held, request, self._bound_answer(len(prompt_ids), sampling, field)
            ),
            slot=-1 if held is None else held.slot,
            history=History(sampling, tuple(prompt_ids)),
            end_ids=own_ends | set(sampling.stop_token_ids),
            decode=self._make_decode(sampling.shows_special),
            on_piece=on_piece,
            on_end=lambda: self._let_go(held),
            matcher=self._open_matcher(request),
        )

    def _open_matcher(self, request: Request) -> Matcher | None:
        constraint = request.sampling.constraint
        return self._grammars.open(constraint, request.tenant) if constraint else None

    @staticmethod
    def _make_stream(
        prompt_ids: list[int], held: Held | None, request: Request, max_tokens: int
    ) -> Stream:
        digest = b"" if held is None else held.digest.encode()
        root = make_root(request.tenant, digest)
        return Stream(list(prompt_ids), root, request.tenant, max_tokens)

    def _embed_all(
        self,
        prompts: Sequence[list[int]],
        held: Held | None,
        request: EmbedRequest,
        departure: Departure,
    ) -> list[EmbedTicket]:
        """Send texts through the loop, a few at a time: one caller does not fill the line."""
        slot = -1 if held is None else held.slot
        tickets: list[EmbedTicket] = []
        until = None if request.deadline_s is None else time.monotonic() + request.deadline_s
        under_way: deque[EmbedTicket] = deque()

        def release_all() -> None:
            for ticket in tuple(tickets):
                self._loop.release(ticket, message=_LEFT)

        departure.then(release_all)
        try:
            for prompt in prompts:
                stream = Stream(list(prompt), tenant=request.tenant)
                ticket = EmbedTicket(stream=stream, slot=slot)
                if len(under_way) >= _NUM_TEXTS:
                    under_way.popleft().outcome.result()
                while not self._enter_text(ticket, until, may_wait=bool(under_way)):
                    under_way.popleft().outcome.result()
                under_way.append(ticket)
                tickets.append(ticket)
                if departure.has_left:  # perhaps before this one was known
                    raise EmbedFailed("aborted", _LEFT)
            for ticket in tickets:
                ticket.outcome.result()
        except BaseException:
            for ticket in under_way:
                self._loop.release(ticket, message="Another text of this request failed.")
            raise
        return tickets

    def _enter_text(self, ticket: EmbedTicket, until: float | None, *, may_wait: bool) -> bool:
        """Put a text into the line; False where that is full and `may_wait`."""
        left_s = None if until is None else until - time.monotonic()
        if left_s is not None and left_s <= 0:
            raise EmbedFailed("aborted", "The deadline of this request has passed.")
        try:
            self._loop.enter(ticket, left_s)
        except WaitTooLong:
            raise
        except QueueFull:
            if not may_wait:
                raise
            return False
        return True

    def _read_prompt(self, request: ChatRequest | TextRequest) -> tuple[list[int], str]:
        """Return a request's prompt and the name of the field that it is from."""
        if isinstance(request, TextRequest):
            return self._encode(request.prompt, "prompt"), "prompt"
        messages: list[Any] = list(request.messages)
        self._check_letters(len(str(messages)) + len(str(request.tools)), "messages")
        try:
            with self._tokenizer_lock:
                ids = self._renderer.render_prompt(messages, list(request.tools) or None)
        except TemplateError as error:
            raise RequestRefused(
                "bad_messages", f"The model's chat template refuses this: {error}", field="messages"
            ) from error
        return ids, "messages"

    def _encode(self, text: str | tuple[int, ...], field: str) -> list[int]:
        if isinstance(text, str):
            self._check_letters(len(text), field)
            with self._tokenizer_lock:
                return self._renderer.render_opening(text, is_turn=False)
        self._check_ids(text, field)
        return list(text)

    def _check_letters(self, num_letters: int, field: str) -> None:
        """Refuse what cannot fit before it is read: the tokenizer reads one at a time, for all."""
        if num_letters > self._most_letters:
            what, mend = _TOO_LONG[field]
            raise RequestRefused(
                "context_length_exceeded",
                f"{what} {num_letters} letters, more than a context of {self._max_context} tokens "
                f"can hold: {mend}.",
                field=field,
            )

    def _check_ids(self, token_ids: Sequence[int], field: str) -> None:
        odd = next((i for i in token_ids if not 0 <= i < self._vocab_size), None)
        if odd is not None:
            raise RequestRefused(
                "bad_token",
                f"{field}: there is no token {odd}; they go from 0 to {self._vocab_size - 1}.",
                field=field,
            )

    def _check_prompt(self, prompt_ids: Sequence[int], field: str) -> None:
        if not prompt_ids:
            raise RequestRefused("empty_prompt", f"{field} is empty; write something.", field=field)
        if len(prompt_ids) > self._max_context:
            raise self._refuse_length(len(prompt_ids), None, field)

    def _bound_answer(self, num_prompt_tokens: int, sampling: Sampling, field: str) -> int:
        max_tokens = sampling.max_tokens
        num_left = self._max_context - num_prompt_tokens
        if num_left < (max_tokens or 1):
            raise self._refuse_length(num_prompt_tokens, max_tokens, field)
        return max_tokens or num_left

    def _refuse_length(self, num_tokens: int, max_tokens: int | None, field: str) -> RequestRefused:
        what, mend = _TOO_LONG[field]
        wanted = f" and max_tokens {max_tokens}" if max_tokens else ""
        return RequestRefused(
            "context_length_exceeded",
            f"{what} {num_tokens} tokens{wanted}, and the context is {self._max_context}: {mend}.",
            field=field,
        )

    def _decode(self, ids: Sequence[int], *, skips_special: bool = True) -> str:
        return str(
            self._tokenizer.decode(
                list(ids), skip_special_tokens=skips_special, clean_up_tokenization_spaces=False
            )
        )

    def _make_decode(self, shown: Sequence[str]) -> Decode:
        """Return what turns an answer's ids into text, with some special tokens in it."""
        if not shown:
            return self._decode
        found = self._tokenizer.convert_tokens_to_ids(list(shown))
        texts = dict(zip(found, shown, strict=True))

        def decode(ids: Sequence[int]) -> str:
            parts, start = [], 0
            for place, token_id in enumerate(ids):
                if token_id in texts:
                    parts += [self._decode(ids[start:place]), texts[token_id]]
                    start = place + 1
            return "".join([*parts, self._decode(ids[start:])])

        return decode

    def _sign(self, adapter_digest: str) -> str:
        """Return the digest of all that an answer's words come from."""
        model = self._model
        template = self._tokenizer.chat_template or ""
        how = (model.quantization, model.arithmetic, *self._precisions)
        parts = (model.digest, adapter_digest, str(template), model.engine, *how)
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return f"fp_{digest[:16]}"


def _shape_embedding(ticket: EmbedTicket) -> Embedding:
    assert ticket.started_at is not None
    return Embedding(
        tuple(normalize(ticket.outcome.result(), dim=0).tolist()),
        ticket.stream.num_prompt_tokens,
        queue_s=ticket.started_at - ticket.entered_at,
        prefill_s=ticket.prefill_s,
    )


class _Held:
    """Implements `HeldModel`."""

    def __init__(self, backend: NativeBackend, held: Held | None, fingerprint: str) -> None:
        self._backend = backend
        self._held = held
        self._lock = threading.Lock()  # nobody joins what is being let go
        self._is_over = False
        self.fingerprint = fingerprint

    def submit(self, request: ChatRequest | TextRequest, on_piece: OnPiece) -> Generation:
        with self._lock:
            if self._is_over:
                raise RequestRefused("aborted", _LEFT)
            self._backend._join(self._held)
        return self._backend._enter(request, self._held, on_piece)

    def let_go(self) -> None:
        with self._lock:
            if not self._is_over:
                self._is_over = True
                self._backend._let_go(self._held)


class _Answer:
    """Implements `Generation`."""

    def __init__(self, loop: StepLoop, ticket: AnswerTicket) -> None:
        self._loop = loop
        self._ticket = ticket

    @property
    def num_prompt_tokens(self) -> int:
        return self._ticket.stream.num_prompt_tokens

    def abort(self) -> None:
        self._loop.release(self._ticket)


def _start_loop(spec: ServeSpec, decoder: Decoder) -> StepLoop:
    pool = BlockPool(
        decoder.num_blocks, block_size=decoder.block_size, has_cache=spec.has_prefix_cache
    )
    limits = PlanLimits(spec.max_batch_tokens, spec.max_running, spec.max_running_of_tenant)
    line = LineLimits(spec.max_waiting, spec.max_waiting_of_tenant)
    return StepLoop(decoder, Planner(pool, limits), line)
