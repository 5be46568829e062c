"""What a quantized model has lost: perplexity, agreement and greedy match against its base.

W windows, T positions, V vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.quantize.streamed import StreamedModel
from engine.quantize.walk import BASE, GREEDY, KV_BITS, QUANTIZED, Stream, Walk
from engine.specs.quality import GreedyMatch, KvPrecision, Measured

PROMPT_TOKENS, ANSWER_TOKENS = 32, 32
NUM_PROMPTS = 16


@dataclass(frozen=True)
class Outcome:
    """All that the streams of a walk say in the end."""

    base_perplexity: float
    quantized: Measured
    kv: dict[str, Measured]
    greedy: GreedyMatch | None


def write_prompts(model: StreamedModel, held_out_WT: Tensor) -> Tensor:
    """Return beginnings of held-out windows with the base's own greedy continuations."""
    num_prompt = min(PROMPT_TOKENS, held_out_WT.shape[1])
    prompts = held_out_WT[:NUM_PROMPTS, :num_prompt]
    return model.write_greedily(prompts, ANSWER_TOKENS)


@torch.no_grad()
def measure_end(walk: Walk) -> Outcome:
    """Compare what the streams say of each next token."""
    model, streams = walk.model, walk.streams
    base = streams[BASE]
    kv_names = [name for name in KV_BITS if streams[name].num_rounded]
    rivals = {name: streams[name] for name in (QUANTIZED, *kv_names)}
    losses = dict.fromkeys((BASE, *rivals), 0.0)
    agreed = dict.fromkeys(rivals, 0)
    num_next = num_places = 0
    for window in range(len(base.hidden.ids_WT)):
        ids = base.hidden.ids_WT[window : window + 1]
        likeliest, loss = _judge(model, base, window)
        losses[BASE] += loss
        num_next += ids.shape[1] - 1
        num_places += ids.shape[1]
        for name, stream in rivals.items():
            theirs, loss = _judge(model, stream, window)
            losses[name] += loss
            agreed[name] += int((theirs == likeliest).sum())
    measured = {
        name: Measured(
            perplexity=_to_perplexity(losses[name] / num_next), agreement=agreed[name] / num_places
        )
        for name in rivals
    }
    return Outcome(
        base_perplexity=_to_perplexity(losses[BASE] / num_next),
        quantized=measured[QUANTIZED],
        kv={name: measured[name] for name in kv_names},
        greedy=_match_greedily(model, streams[GREEDY]),
    )


def recommend_kv(quantized: Measured, kv: dict[str, Measured], bound: float) -> KvPrecision:
    """Return the smallest precision of keys and values that raises the perplexity by less."""
    for name in ("int4", "int8"):
        found = kv.get(name)
        if found and found.perplexity <= quantized.perplexity * (1 + bound):
            return "int4" if name == "int4" else "int8"
    return "bf16"


def _judge(model: StreamedModel, stream: Stream, window: int) -> tuple[Tensor, float]:
    """Return the likeliest next token of each place, and the summed loss of those that came."""
    where = slice(window, window + 1)
    ids_1T = stream.hidden.ids_WT[where].to(model.device)
    hidden = stream.hidden.read(where).to(model.device)
    logits_TV = model.end(ids_1T, hidden)[0]
    loss = torch.nn.functional.cross_entropy(logits_TV[:-1], ids_1T[0, 1:], reduction="sum")
    return logits_TV.argmax(dim=-1), float(loss)


def _match_greedily(model: StreamedModel, stream: Stream) -> GreedyMatch | None:
    """Count how much of each continuation the quantized model gives too.

    It is asked behind the base's own words: up to the first other token these are its own as well.
    """
    ids_WT = stream.hidden.ids_WT
    num_answer = min(ANSWER_TOKENS, ids_WT.shape[1] - 1)
    start = ids_WT.shape[1] - num_answer
    lengths = []
    for window in range(len(ids_WT)):
        likeliest, _ = _judge(model, stream, window)
        given = likeliest[start - 1 : -1].cpu()
        is_same = given == ids_WT[window, start:]
        lengths.append(int(is_same.int().cumprod(dim=0).sum()))
    return GreedyMatch(
        mean_tokens=sum(lengths) / len(lengths), of_tokens=num_answer, num_prompts=len(lengths)
    )


def _to_perplexity(loss: float) -> float:
    return math.exp(min(loss, 80.0))  # finite, so that JSON can hold it
