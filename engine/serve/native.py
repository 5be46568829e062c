"""The in-repo backend: transformers and peft on the CPU or one GPU, one answer at a time per turn.

Knows names (models, adapters) and conversations; the decoding itself is the scheduler's.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from engine.data.render import Renderer
from engine.emitter import Emitter
from engine.hub import fetch_repo
from engine.models.load import load_base, load_tokenizer, pick_device
from engine.serve.adapters import AdapterRack, read_adapter
from engine.serve.backend import (
    BackendFacts,
    ChatRequest,
    Embedding,
    EmbedRequest,
    Generation,
    ModelUnknown,
    OnPiece,
    RequestRefused,
    Sampling,
    ServedModel,
    TextRequest,
)
from engine.serve.decoding import Answer
from engine.serve.scheduler import Scheduler, Ticket
from engine.specs import Placement, ServeSpec, split_ref
from engine.version import read_version

FetchAdapter = Callable[[str], Path]

# Tokens that end a turn in the chat templates people use; a model may name fewer than it writes.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "</s>", "<|endoftext|>")


def open_native(spec: ServeSpec, placement: Placement, emitter: Emitter) -> "NativeBackend":
    """Load the base and the adapters of a spec.

    Raises:
        EngineError: bad_model, when one of them cannot be used.
    """

    def fetch_adapter(ref: str) -> Path:
        return fetch_repo(ref, "model", placement, emitter).path

    folder = fetch_repo(spec.model, "model", placement, emitter).path
    num_parts = 1 + len(spec.adapters)
    emitter.progress("load", 0, num_parts, unit="model")
    tokenizer = load_tokenizer(folder)
    device = pick_device(placement.devices)
    model = load_base(folder, precision=spec.precision, device=device)
    backend = NativeBackend(spec, model, tokenizer, fetch_adapter)
    emitter.progress("load", 1, num_parts, unit="model")
    for index, ref in enumerate(spec.adapters):
        try:
            backend.load_adapter(ref, ref)
        except BaseException:
            backend.close()
            raise
        emitter.progress("load", 2 + index, num_parts, unit="model")
    return backend


class NativeBackend:
    """Implements `engine.serve.backend.Backend`."""

    def __init__(
        self,
        spec: ServeSpec,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        fetch_adapter: FetchAdapter,
    ) -> None:
        """Takes `model` over: nobody else may use it until `close`."""
        self._name = spec.model
        self._aliases = {spec.model, split_ref(spec.model)[0], Path(spec.model).name}
        self._max_context = min(spec.max_context, model.config.max_position_embeddings)
        self._device = str(model.device)
        self._tokenizer = tokenizer
        self._renderer = Renderer(tokenizer, max_length=self._max_context)
        self._end_ids = find_end_ids(model, tokenizer)
        self._fetch_adapter = fetch_adapter
        self._tokenizer_lock = threading.Lock()  # a fast tokenizer takes one encoder at a time
        self._change_lock = threading.Lock()  # one adapter comes or goes at a time
        self._kept = frozenset(spec.adapters)  # what the spec asks for is never unloaded
        self._adapter_memory_bytes = spec.adapter_memory_bytes
        self._names = threading.Condition()  # guards the five below
        # Adapter's name -> its key in the rack, never used again. Least recently asked first.
        self._keys: dict[str, str] = {}
        self._refs: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._in_flight: Counter[str | None] = Counter()
        self._num_keys = 0
        self._scheduler = Scheduler(AdapterRack(model), max_waiting=spec.max_waiting)

    def list_models(self) -> list[ServedModel]:
        """Return the base first, then the loaded adapters by name."""
        with self._names:
            names = sorted(self._keys)
        base = ServedModel(self._name, None, self._max_context)
        return [base, *(ServedModel(name, self._name, self._max_context) for name in names)]

    def submit(self, request: ChatRequest | TextRequest, on_piece: OnPiece) -> Generation:
        """Queue a request; see `Backend.submit`."""
        _refuse_what_is_lacking(request)
        prompt_ids = self.tokenize(request)
        answer = Answer(
            prompt_ids,
            request.sampling,
            max_tokens=self._bound_answer(len(prompt_ids), request.sampling.max_tokens),
            end_ids=self._end_ids,
            decode=self._decode,
        )
        with self._names:
            key = self._find_key(request.model)
            ticket = Ticket(answer, key, on_piece, lambda: self._leave(key))
            self._scheduler.enter(ticket)
            self._in_flight[key] += 1
            if key is not None:
                self._keys[request.model] = self._keys.pop(request.model)
        return ticket

    def embed(self, request: EmbedRequest) -> list[Embedding]:
        """Refuse: this engine makes answers only."""
        raise RequestRefused("not_supported", "This engine makes no embeddings.", field="input")

    def tokenize(self, request: ChatRequest | TextRequest) -> list[int]:
        """Return the token ids of a prompt; see `Backend.tokenize`."""
        if isinstance(request, ChatRequest):
            return self._render(request.messages)
        if isinstance(request.prompt, tuple):
            return list(request.prompt)
        with self._tokenizer_lock:
            return list(self._tokenizer.encode(request.prompt))

    def detokenize(self, model: str, token_ids: Sequence[int]) -> str:
        """Return the text of token ids; see `Backend.detokenize`."""
        return str(self._tokenizer.decode(list(token_ids)))

    def describe(self) -> BackendFacts:
        """Say what it is; this engine counts nothing."""
        return BackendFacts(
            engine=f"native/{read_version()}",
            device=self._device,
            quantization="none",
            chat_template=str(self._tokenizer.chat_template or ""),
        )

    def load_adapter(self, name: str, ref: str) -> None:
        """Make an adapter answer under `name`; see `Backend.load_adapter`.

        Raises:
            EngineError: bad_model, when it cannot be fetched or does not fit.
        """
        with self._change_lock:
            with self._names:
                if self._refs.get(name) == ref:
                    return
                if name in self._refs or name in self._aliases:
                    raise RequestRefused(
                        "name_taken",
                        f"{name} is served already; unload it first.",
                        field="lora_name",
                    )
                self._num_keys += 1
                key = f"adapter{self._num_keys}"  # peft takes no dots or slashes
            files = read_adapter(self._fetch_adapter(ref))
            self._make_room(files.size_bytes)
            self._scheduler.between_turns(lambda rack: rack.add(key, files))
            with self._names:
                self._keys[name], self._refs[name] = key, ref
                self._sizes[name] = files.size_bytes

    def unload_adapter(self, name: str) -> None:
        """Take a name away; see `Backend.unload_adapter`."""
        with self._change_lock:
            self._take_away(name)

    def is_healthy(self) -> bool:
        """Say whether it still makes tokens."""
        return self._scheduler.is_alive()

    def close(self, drain_s: float = 0.0) -> None:
        """Abort everything and end the decoding thread; this engine does not wait for answers."""
        self._scheduler.close()

    def _make_room(self, size_bytes: int) -> None:
        """Unload what was asked least recently until so many bytes more fit, or nothing is left."""
        while True:
            with self._names:
                held_bytes = sum(self._sizes.values())
                oldest = next((name for name in self._keys if name not in self._kept), None)
            if oldest is None or held_bytes + size_bytes <= self._adapter_memory_bytes:
                return
            self._take_away(oldest)

    def _take_away(self, name: str) -> None:
        """Refuse who comes from now on, wait for who is there, and drop the weights."""
        with self._names:
            if name not in self._keys:
                raise ModelUnknown(name, field="lora_name")
            key = self._keys.pop(name)
            del self._refs[name], self._sizes[name]
            self._names.wait_for(lambda: not self._in_flight[key])
        self._scheduler.between_turns(lambda rack: rack.remove(key))

    def _render(self, messages: Sequence[dict[str, str]]) -> list[int]:
        try:
            with self._tokenizer_lock:
                return self._renderer.render_prompt(list(messages))
        except TemplateError as error:
            raise RequestRefused(
                "bad_messages", f"The model's chat template refuses this: {error}", field="messages"
            ) from error

    def _bound_answer(self, num_prompt_tokens: int, max_tokens: int | None) -> int:
        num_left = self._max_context - num_prompt_tokens
        if num_left < (max_tokens or 1):
            wanted = f" and max_tokens {max_tokens}" if max_tokens else ""
            raise RequestRefused(
                "context_length_exceeded",
                f"The messages take {num_prompt_tokens} tokens{wanted}, and the context is "
                f"{self._max_context}: shorten the messages or lower max_tokens.",
                field="messages",
            )
        return max_tokens or num_left

    def _decode(self, ids: Sequence[int]) -> str:
        return str(
            self._tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def _find_key(self, name: str) -> str | None:
        if name in self._keys:
            return self._keys[name]
        if name in self._aliases:
            return None
        raise ModelUnknown(name)

    def _leave(self, key: str | None) -> None:
        with self._names:
            self._in_flight[key] -= 1
            self._names.notify_all()


# Field of Sampling that this engine has no code for -> the parameter's name.
_LACKING = {
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "logit_bias": "logit_bias",
    "stop_token_ids": "stop_token_ids",
    "ignores_end": "ignore_eos",
    "num_logprobs": "logprobs",
    "constraint": "response_format",
}


def _refuse_what_is_lacking(request: ChatRequest | TextRequest) -> None:
    plain = Sampling()
    lacking = [
        name
        for field, name in _LACKING.items()
        if getattr(request.sampling, field) != getattr(plain, field)
    ]
    if isinstance(request, ChatRequest) and request.tools:
        lacking.append("tools")
    if lacking:
        raise RequestRefused(
            "not_supported", f"{lacking[0]} is not supported here; leave it out.", field=lacking[0]
        )


def find_end_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return every token that ends an answer: the model's, the tokenizer's, and known turn ends."""
    configured = model.generation_config.eos_token_id
    ids = set(configured if isinstance(configured, list) else [configured])
    known = [tokenizer.convert_tokens_to_ids(token) for token in _TURN_ENDS]
    ids |= {token_id for token_id in known if token_id != tokenizer.unk_token_id}
    return frozenset((ids | {tokenizer.eos_token_id}) - {None})
