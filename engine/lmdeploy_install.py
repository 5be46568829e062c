"""`python -m engine lmdeploy install DIR`: LMDeploy's own environment, in one command."""

import subprocess
import venv
from pathlib import Path

from engine.errors import EngineError
from engine.serve.backends.lmdeploy import VERSION, find_program, probe_flags
from engine.status import Reason


def install_lmdeploy(folder: Path, package: str | None = None) -> None:
    """Make a virtual environment with LMDeploy in a new folder, and see that its server starts.

    `package` is what pip is asked for: the version that we know by default.

    Raises:
        EngineError: the folder is not empty, or pip or LMDeploy failed.
    """
    if folder.exists() and any(folder.iterdir()):
        raise EngineError(Reason.BAD_SPEC, f"{folder} is not empty; name a new folder.")
    venv.create(folder, with_pip=True)
    wanted = package or f"lmdeploy=={VERSION}"
    print(f"Installing {wanted} into {folder}; this takes gigabytes and minutes.", flush=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", wanted]
    if subprocess.run(command, check=False).returncode:
        raise EngineError(Reason.INTERNAL_ERROR, f"pip could not install {wanted}; see above.")
    flags = probe_flags(find_program(folder))
    print(f"LMDeploy is ready ({len(flags)} flags): serve with `backend: lmdeploy` and", flush=True)
    print(f"--lmdeploy {folder}", flush=True)
