"""What another library makes of a quantized folder; nothing of ours is imported here.

As a program of an environment that has transformers, gptqmodel and optimum (`docs/contributor`):
`python foreign_reader.py FOLDER IDS.json LOGITS.safetensors` reads the folder with their plain
torch kernels, on the CPU, and writes float32 logits.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AwqConfig, GPTQConfig


def main(folder: Path, ids: Path, out: Path) -> None:
    """Read, compute, write."""
    told = json.loads((folder / "config.json").read_text())["quantization_config"]
    # Its fastest kernels for a CPU round scales and inputs to bfloat16.
    make, backend = {"awq": (AwqConfig, "torch_awq"), "gptq": (GPTQConfig, "torch")}[
        told.pop("quant_method")
    ]
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        device_map="cpu",
        quantization_config=make(**told, backend=backend),
    )
    kinds = {type(module).__module__ for name, module in model.named_modules() if "proj" in name}
    assert all(kind.startswith("gptqmodel.") for kind in kinds), kinds
    with torch.no_grad():
        logits = model(torch.tensor([json.loads(ids.read_text())])).logits[0]
    save_file({"logits": logits.float()}, out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
