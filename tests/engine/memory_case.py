"""One training of a random model of some size, to see the memory that it takes.

As a program, `python -m tests.engine.memory_case FOLDER`: reads case.json there, trains two steps
in a process of its own, and prints JSON: the peak of its resident set in bytes, and the size of
its data.
"""

import json
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


def main(folder: Path) -> None:
    """Train and print the peak."""
    prepare_process(1)
    import torch

    from engine.emitter import Emitter
    from engine.specs import Placement, TrainSpec
    from engine.stopping import StopGate
    from engine.train.run import train

    torch.set_num_threads(1)
    case: dict[str, Any] = json.loads((folder / "case.json").read_text())
    run_dir = folder / "run"
    run_dir.mkdir()
    train(
        TrainSpec.model_validate(case),
        Placement(run_dir=run_dir, num_threads=1),
        Emitter(),
        StopGate(),
    )
    peak = read_peak_bytes()
    told = json.loads((run_dir / "out" / "athanor.json").read_text())["dataset"]
    facts = {name: told[name] for name in ("num_tokens", "num_supervised_tokens")}
    print(json.dumps([peak, {"num_samples": told["num_rows"], **facts}]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
