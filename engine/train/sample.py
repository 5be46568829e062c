"""Short greedy answers of a model in training, to be looked at."""

import torch
from peft import PeftModel

from engine.data.render import Renderer


@torch.no_grad()
def answer_greedily(model: PeftModel, renderer: Renderer, prompt: str, *, max_tokens: int) -> str:
    """Answer one user turn without randomness; leaves the model in eval mode."""
    model.eval()
    ids = renderer.render_prompt([{"role": "user", "content": prompt}])
    device = next(model.parameters()).device
    input_ids = torch.tensor([ids], device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=_is_bf16(model)):
        out = model.generate(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            max_new_tokens=max_tokens,
            do_sample=False,
            eos_token_id=sorted(renderer.end_ids),
            pad_token_id=min(renderer.end_ids),
        )
    return renderer.decode(out[0, len(ids) :].tolist())


def _is_bf16(model: PeftModel) -> bool:
    return bool(model.get_base_model().get_output_embeddings().weight.dtype == torch.bfloat16)
