"""One quantization of a random model of some size, to see the memory that it takes.

As a program, `python -m tests.engine.quantize.memory_case FOLDER`: reads case.json there, quantizes
in a process of its own, and prints the peak of its resident set in bytes.
"""

import json
import sys
from pathlib import Path

from engine.runtime import prepare_process, read_peak_bytes


def main(folder: Path) -> None:
    """Quantize and print the peak."""
    prepare_process(1)
    import torch

    from engine.emitter import Emitter
    from engine.quantize.run import quantize
    from engine.specs import Placement, QuantizeSpec
    from engine.stopping import StopGate

    torch.set_num_threads(1)
    spec = QuantizeSpec.model_validate_json((folder / "case.json").read_bytes())
    run_dir = folder / "run"
    run_dir.mkdir()
    quantize(spec, Placement(run_dir=run_dir, num_threads=1), Emitter(), StopGate())
    report = json.loads((run_dir / "out" / "quantization.json").read_text())
    # What the walk alone took, for whoever looks for where the peak is.
    print(f"The walk's peak: {report['peak_memory_bytes']}", file=sys.stderr)
    print(read_peak_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
