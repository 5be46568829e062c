"""A backend that answers by script: real threads and the whole protocol, without a model.

Its tokens are letters, and the marks in `SPECIALS`, each one token. What it is asked it keeps.
"""

import math
import re
import threading
from collections.abc import Callable, Sequence

from engine.serve.backend import (
    BackendFacts,
    ChatRequest,
    Embedding,
    EmbedRequest,
    ModelUnknown,
    Piece,
    QueueFull,
    RequestRefused,
    ServedModel,
    TextRequest,
    TokenLogprob,
    Usage,
)

SPECIALS = ("<|action_start|>", "<|plugin|>", "<|action_end|>", "[TOOL_CALLS]", "<tool_call>")
_FIRST_SPECIAL = 0x110000  # behind the last letter
_TOKENS = re.compile("|".join(map(re.escape, SPECIALS)) + "|.", re.DOTALL)
FULL_SEED = 429
"""A request with this seed finds the queue full."""

Script = Callable[[ChatRequest | TextRequest], str | list[Piece]]


def encode(text: str, specials: Sequence[str] = SPECIALS) -> list[int]:
    ids = []
    for token in _TOKENS.findall(text):
        if token in specials:
            ids.append(_FIRST_SPECIAL + SPECIALS.index(token))
        else:
            ids += map(ord, token)
    return ids


def decode(ids: Sequence[int]) -> str:
    return "".join(
        chr(one) if one < _FIRST_SPECIAL else SPECIALS[one - _FIRST_SPECIAL] for one in ids
    )


class Scripted:
    """Answers `script(request)` letter by letter; a list of pieces is given as it is."""

    def __init__(
        self,
        script: Script | str = "Hello",
        *,
        template: str = "",
        specials: Sequence[str] = (),
        adapters: Sequence[str] = (),
        base: str = "base",
    ) -> None:
        self.script: Script = (lambda request: script) if isinstance(script, str) else script
        self.template = template
        self.asked: list[ChatRequest | TextRequest] = []
        self.embedded: list[EmbedRequest] = []
        self.num_aborted = 0
        self.aborted = threading.Event()
        self.is_broken = False
        self.step_age_s = 0.0
        self._specials = specials
        self._base = base
        self._adapters = {name: name for name in adapters}
        self._lock = threading.Lock()

    def list_models(self):
        base = ServedModel(self._base, None, 4096)
        return [base, *(ServedModel(name, self._base, 4096) for name in sorted(self._adapters))]

    def submit(self, request, on_piece):
        self._check_model(request.model)
        if request.sampling.seed == FULL_SEED:
            raise QueueFull(4, retry_after_s=7)
        with self._lock:
            self.asked.append(request)
        answer = ScriptedAnswer(self, request, on_piece)
        answer.start()
        return answer

    def embed(self, request, departure=None):
        self._check_model(request.model)
        self.embedded.append(request)
        return [Embedding(embed_text(text), len(text)) for text in request.texts]

    def tokenize(self, request):
        self._check_model(request.model)
        if isinstance(request, ChatRequest):
            return encode("".join(str(turn["content"]) for turn in request.messages))
        if isinstance(request.prompt, tuple):
            return list(request.prompt)
        return encode(request.prompt, self._specials)

    def detokenize(self, model, token_ids):
        self._check_model(model)
        return decode(token_ids)

    def describe(self):
        return BackendFacts(
            engine="scripted/1",
            device="cpu",
            quantization="none",
            chat_template=self.template,
            num_tokens=17,
            busy_s=1.5,
            last_step_age_s=self.step_age_s,
            fingerprints=tuple((model.name, f"fp_{model.name}") for model in self.list_models()),
        )

    def load_adapter(self, name, ref):
        if self._adapters.get(name, ref) != ref or name == self._base:
            raise RequestRefused("name_taken", f"{name} is taken.", field="lora_name")
        self._adapters[name] = ref

    def unload_adapter(self, name):
        if self._adapters.pop(name, None) is None:
            raise ModelUnknown(name, field="lora_name")

    def is_healthy(self):
        return not self.is_broken

    def close(self, drain_s=0.0):
        self.is_broken = True

    def _check_model(self, name):
        if name != self._base and name not in self._adapters:
            raise ModelUnknown(name)


class ScriptedAnswer(threading.Thread):
    """One answer; a list of pieces without an end goes on until it is aborted."""

    def __init__(self, backend, request, on_piece):
        super().__init__(daemon=True)
        self.num_prompt_tokens = len(backend.tokenize(request))
        self._backend, self._request, self._on_piece = backend, request, on_piece
        self._is_wanted = threading.Event()

    def abort(self):
        self._is_wanted.set()
        self._backend.num_aborted += 1
        self._backend.aborted.set()

    def run(self):
        told = self._backend.script(self._request)
        pieces = self._spell(told) if isinstance(told, str) else told
        for piece in pieces:
            self._on_piece(piece)
            if piece.finish:
                return
        self._is_wanted.wait(60)
        self._on_piece(Piece("", len(pieces), "abort"))

    def _spell(self, text: str) -> list[Piece]:
        most = self._request.sampling.max_tokens
        ids = encode(text)
        finish = "length" if most is not None and most < len(ids) else "stop"
        ids = ids[:most]
        pieces = [
            Piece(decode([one]), number, logprobs=self._tell(one))
            for number, one in enumerate(ids, start=1)
        ]
        usage = Usage(self.num_prompt_tokens, 2, len(ids), 0.25, 0.5, 1.0)
        return [*pieces, Piece("", len(ids), finish, usage=usage)]

    def _tell(self, token_id: int) -> tuple[TokenLogprob, ...]:
        num = self._request.sampling.num_logprobs
        if num is None:
            return ()
        token = decode([token_id])
        top = tuple((token_id + n, decode([token_id + n]), -0.5 - n) for n in range(num))
        return (TokenLogprob(token_id, token, -0.5, top),)


def embed_text(text: str | tuple[int, ...]) -> tuple[float, ...]:
    """A vector of length one that depends on the text."""
    angle = float(sum(map(ord, text) if isinstance(text, str) else text))
    return (math.cos(angle), math.sin(angle))
