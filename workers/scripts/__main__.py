"""`python -m workers.scripts RUN_DIR`: runs a script's container to its end, for the engine."""

import argparse
import sys
from pathlib import Path

from workers.scripts.carrier import Carrier
from workers.scripts.containers import ScriptEngine


def main() -> int:
    """Carry one run; how it ended is in its outcome.json."""
    parser = argparse.ArgumentParser(prog="python -m workers.scripts", description=__doc__)
    parser.add_argument("--node", required=True)
    parser.add_argument("--drives", type=Path)
    parser.add_argument("run_dir", type=Path)
    options = parser.parse_args()
    engine = ScriptEngine(options.node)
    Carrier(options.run_dir, engine, drives=options.drives).carry()
    return 0


if __name__ == "__main__":
    sys.exit(main())
