"""A kill at any instant leaves a checkpoint that goes on as if nothing had been."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.train.kill_case import NUM_KILLS


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_instant_goes_on_exactly(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.train.kill_case", str(tmp_path)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    told = json.loads((tmp_path / "found.json").read_text())
    assert len(told) == NUM_KILLS
    for run in told:
        kept = [int(Path(path).name.removeprefix("step-")) for path in run["kept"]]
        step = kept[-1] if kept else 0
        for what in ("losses", "norms", "measures"):
            assert run["rest"][what] == run["whole"][what][step:]
        assert run["rest"]["weights"] == run["whole"]["weights"]
        assert len(kept) <= 3  # two, and a third that is not swept yet
    # They were killed at work, behind a checkpoint: else nothing was tried.
    assert sum(run["status"] == signal.SIGKILL and bool(run["kept"]) for run in told) > 1
