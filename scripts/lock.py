"""Print constraints.txt: the closure of all our extras at the versions of the given environment.

    python scripts/lock.py path/to/python > constraints.txt

Only versions, no hosts and no builds: `torch==2.13.0+cpu` becomes `torch==2.13.0`.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
# What only some Pythons need, and the one that makes the lock may not: redis before 3.11.3.
_ELSEWHERE = ["async-timeout==5.0.1"]
_EXTRAS = ".[engine,test,dev,bench]"


def list_pins(python: str) -> list[str]:
    """Return `name==version` of everything that installing all extras would bring."""
    frozen = subprocess.check_output(
        [python, "-m", "pip", "freeze", "--exclude-editable"], text=True
    )
    pins = [line.partition("+")[0] for line in frozen.splitlines() if "==" in line]
    with tempfile.TemporaryDirectory() as folder:
        held, report = Path(folder, "held.txt"), Path(folder, "report.json")
        held.write_text("\n".join(pins) + "\n")
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed"]
            + ["-c", str(held), _EXTRAS, "--report", str(report)],
            cwd=_ROOT,
            check=True,
            stdout=sys.stderr,
        )
        wanted = {item["metadata"]["name"] for item in json.loads(report.read_text())["install"]}
    names = {_plain(name) for name in wanted} - {"athanor", "setuptools"}
    found = {pin for pin in pins if _plain(pin.split("==")[0]) in names}
    return sorted(found.union(_ELSEWHERE), key=str.lower)


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    print("# Exactly what `make up` and the tests install, at known versions. Made by `make lock`.")
    print("\n".join(list_pins(sys.argv[1])))
