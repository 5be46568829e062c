"""One answer under way: its prompt, its own key-value cache, and the text so far.

Each answer is decoded alone, so that it comes out the same whoever else is served. A faster engine
batches; this one is the reference to compare it with.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from engine.serve.answer_text import Decode, StopText, TokenText
from engine.serve.backend import FinishReason, Piece, Sampling
from engine.serve.sampling import Sampler

# Prompt tokens of one forward pass; on two cores about a third of a second of SmolLM2-135M, which
# is how long a newcomer's prompt holds the others up.
PREFILL_TOKENS = 512


class Answer:
    """Decodes one answer step by step."""

    def __init__(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int,
        end_ids: frozenset[int],
        decode: Decode,
    ) -> None:
        self.num_prompt_tokens = len(prompt_ids)
        self.num_tokens = 0
        self._to_feed = list(prompt_ids)
        self._sampling = sampling
        self._max_tokens = max_tokens
        self._end_ids = end_ids
        self._text = TokenText(decode)
        self._stops = StopText(sampling.stop)
        self._cache: DynamicCache | None = None
        self._sampler: Sampler | None = None

    @torch.inference_mode()
    def advance(self, model: Any) -> Piece | None:
        """Do one forward pass: return the token's piece, or None while the prompt is read."""
        if self._cache is None:
            self._cache = DynamicCache(config=model.config)
            self._sampler = Sampler(self._sampling, model.device)
        chunk, self._to_feed = self._to_feed[:PREFILL_TOKENS], self._to_feed[PREFILL_TOKENS:]
        output = model(
            input_ids=torch.tensor([chunk], device=model.device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        if self._to_feed:
            return None
        assert self._sampler is not None
        return self._take(self._sampler.draw(output.logits[0, -1]))

    def _take(self, token_id: int) -> Piece:
        self.num_tokens += 1
        if token_id in self._end_ids:
            return self._finish("", "stop")
        text = self._stops.push(self._text.push(token_id))
        if self._stops.is_hit:
            return Piece(text, self.num_tokens, "stop")
        if self.num_tokens >= self._max_tokens:
            return self._finish(text, "length")
        self._to_feed = [token_id]
        return Piece(text, self.num_tokens)

    def _finish(self, text: str, finish: FinishReason) -> Piece:
        text += self._stops.push(self._text.flush())
        if self._stops.is_hit:
            finish = "stop"
        return Piece(text + self._stops.flush(), self.num_tokens, finish)
