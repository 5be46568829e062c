"""`python -m workers.engines RUN_DIR`: runs an engine's container, for the verb outside of it."""

import argparse
import sys
from pathlib import Path

from workers.engines.carrier import EngineCarrier
from workers.engines.containers import EngineContainers
from workers.inventory import choose_devices


def main() -> int:
    """Carry one run; how it ended is in its outcome.json."""
    parser = argparse.ArgumentParser(prog="python -m workers.engines", description=__doc__)
    parser.add_argument("--node", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--mock-devices", type=int, default=0)
    parser.add_argument("run_dir", type=Path)
    options = parser.parse_args()
    engine = EngineContainers(options.node, options.image)
    devices = choose_devices(options.mock_devices)
    EngineCarrier(options.run_dir, engine, devices).carry()
    return 0


if __name__ == "__main__":
    sys.exit(main())
