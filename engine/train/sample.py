"""Short greedy texts of a model in training, to be looked at."""

import torch

from engine.data.render import Renderer
from engine.train.trainee import Trainee


@torch.no_grad()
def write_greedily(trainee: Trainee, renderer: Renderer, ids: list[int], *, max_tokens: int) -> str:
    """Go on from tokens without randomness; leaves the model in eval mode.

    Every process of a mesh calls it, and gets the same text.
    """
    trainee.eval()
    input_ids = torch.tensor([ids], device=next(trainee.parameters()).device)
    out = trainee.generate(
        input_ids=input_ids,
        attention_mask=torch.ones_like(input_ids),
        max_new_tokens=max_tokens,
        do_sample=False,
        eos_token_id=sorted(renderer.end_ids),
        pad_token_id=min(renderer.end_ids),
    )
    return renderer.decode(out[0, len(ids) :].tolist())
