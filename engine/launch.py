"""A run from the terminal: make its folder from a spec file, record it here, and show it."""

import argparse
import os
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.console import Console
from engine.errors import EngineError
from engine.recorder import record_run
from engine.spec_file import explain_problems, read_spec
from engine.specs import JobSpec, Placement
from engine.status import Reason, Status


def launch_here(options: argparse.Namespace, kind: str, placement: dict[str, Any]) -> Status:
    """Do what a spec file says in the foreground and return the final status.

    Raises:
        EngineError: the spec or the place is wrong; nothing was made.
    """
    spec = read_spec(options.spec, kind, options.set)
    run_dir = options.run_dir or Path("runs") / time.strftime(f"%Y%m%d-%H%M%S-{kind}")
    run_dir = run_dir.resolve()
    if run_dir.exists() and any(run_dir.iterdir()):
        raise EngineError(Reason.BAD_SPEC, f"--run-dir: {run_dir} is not empty; name a new folder.")
    resume = placement.get("resume_from")
    if resume is not None and not (resume / "progress.json").is_file():
        raise EngineError(
            Reason.BAD_SPEC, f"--resume: {resume} is no checkpoint; name a step-N folder."
        )
    where = read_placement(options, run_dir, **placement)
    make_run_dir(spec, where)
    with Console(run_dir) as console:
        return record_run(run_dir, watch=console.show)


def make_run_dir(spec: JobSpec, placement: Placement) -> None:
    """Write a run's spec and placement; the placement holds tokens, so only its owner reads it."""
    placement.run_dir.mkdir(parents=True, exist_ok=True)
    (placement.run_dir / "spec.json").write_text(spec.model_dump_json(indent=2), encoding="utf-8")
    fd = os.open(placement.run_dir / "placement.json", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(placement.model_dump_json(indent=2))


def read_placement(options: argparse.Namespace, run_dir: Path, **extra: Any) -> Placement:
    """Return the place that `--hub`, `--devices` and `--threads` tell, and `extra` fields of it.

    Raises:
        EngineError: one of them is wrong.
    """
    try:
        devices = tuple(int(part) for part in options.devices.split(",") if part)
        return Placement.model_validate(
            {
                "run_dir": run_dir,
                "devices": devices,
                "num_threads": options.threads,
                "hub_url": options.hub,
                **extra,
            }
        )
    except ValidationError as error:
        raise EngineError(Reason.BAD_SPEC, "\n".join(explain_problems(error))) from error
    except ValueError as error:
        raise EngineError(Reason.BAD_SPEC, "--devices: write numbers, such as 0,1.") from error
