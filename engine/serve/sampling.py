"""Draws the next token from a model's logits."""

import torch
from torch import Tensor

from engine.serve.backend import Sampling

# V vocabulary


_COLDEST = 1e-5  # below, a division would leave float32


class Sampler:
    """Draws the tokens of one answer, with random numbers that neighbours do not touch."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self._sampling = sampling
        self._temperature = max(sampling.temperature, _COLDEST)
        self._generator = torch.Generator(device)
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    def draw(self, logits_V: Tensor) -> int:
        """Return the next token id."""
        if self._sampling.temperature == 0:
            return int(logits_V.float().argmax())
        logits_V = logits_V.float()
        probs_V = ((logits_V - logits_V.max()) / self._temperature).softmax(-1)
        if self._sampling.top_p < 1:
            probs_V = keep_nucleus(probs_V, self._sampling.top_p)
        return int(torch.multinomial(probs_V, 1, generator=self._generator))


def keep_nucleus(probs_V: Tensor, top_p: float) -> Tensor:
    """Zero all but the fewest likeliest tokens that together reach `top_p` (arXiv 1904.09751, 3.1).

    The likeliest token always stays. The rest is not scaled back to a sum of 1.
    """
    sorted_V, order_V = probs_V.sort(descending=True)
    before_V = sorted_V.cumsum(-1) - sorted_V
    kept_V = torch.where(before_V < top_p, sorted_V, 0.0)
    kept_V[0] = sorted_V[0]
    return torch.zeros_like(probs_V).scatter(-1, order_V, kept_V)
