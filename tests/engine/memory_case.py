"""One training of a random model of some size, to see the memory that it takes.

As a program, `python -m tests.engine.memory_case FOLDER RANK`: reads case.json there, trains a tiny
model as the spec says and then the one that it names, two steps each, and writes found-RANK.json:
the peak of its resident set in bytes, what of it was there between the two, and the size of its
data. The tiny one loads code and libraries, which are no part of what a model takes.
"""

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

from engine.runtime import prepare_process, read_peak_bytes

WORDS = ["furnace", "feeds", "itself", "and", "burns", "for", "days", "on", "one", "load"]


def write_rows(path: Path, stage: str, *, window: int) -> None:
    """Write rows that each fill most of a window of the byte tokenizer."""
    draw = random.Random(7)

    def say(num_bytes: int) -> str:
        return " ".join(draw.choices(WORDS, k=num_bytes // 6))[:num_bytes]

    rows = {
        "pretrain": lambda: {"text": say(window - 8)},
        "sft": lambda: {
            "messages": [
                {"role": "user", "content": say(window // 2 - 20)},
                {"role": "assistant", "content": say(window // 2 - 20)},
            ]
        },
        "dpo": lambda: {
            "prompt": say(window // 3 - 20),
            "chosen": say(window // 3),
            "rejected": say(window // 3),
        },
    }
    make = rows["dpo" if stage == "reward" else stage]
    path.write_text("\n".join(json.dumps(make()) for _ in range(6)))


def main(folder: Path, rank: int) -> None:
    """Train twice and write down the peaks."""
    prepare_process(1)
    case: dict[str, Any] = json.loads((folder / "case.json").read_text())
    os.environ |= case["environment"] | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    train_in(folder / "tiny", case["spec"] | {"model": case["tiny"]}, port=case["ports"][0])
    # A peak from now on: it begins at what is held.
    Path("/proc/self/clear_refs").write_text("5")
    before = read_peak_bytes()
    train_in(folder / "run", case["spec"], port=case["ports"][1])
    found: dict[str, Any] = {"before": before, "peak": read_peak_bytes()}
    if rank == 0:
        told = json.loads((folder / "run" / "out" / "athanor.json").read_text())["dataset"]
        names = ("num_tokens", "num_supervised_tokens")
        found["facts"] = {"num_samples": told["num_rows"]} | {name: told[name] for name in names}
    (folder / f"found-{rank}.json").write_text(json.dumps(found))


def train_in(run_dir: Path, told: dict[str, Any], *, port: int) -> None:
    """Train as a spec tells; several processes meet at a port."""
    import torch

    from engine.emitter import Emitter
    from engine.specs import Placement, TrainSpec
    from engine.stopping import StopGate
    from engine.train.run import train

    torch.set_num_threads(1)
    os.environ["MASTER_PORT"] = str(port)
    run_dir.mkdir(exist_ok=True)
    placement = Placement(run_dir=run_dir, num_threads=1)
    train(TrainSpec.model_validate(told), placement, Emitter(), StopGate())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
