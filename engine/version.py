"""Which Athanor this engine is of."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_FILE = Path(__file__).parent / "VERSION"
"""Where the engine alone is installed, as in the machines' image: `engine.sh` writes it."""


def read_version() -> str:
    """Return the version; `source` where nothing says."""
    if _FILE.is_file():
        return _FILE.read_text(encoding="utf-8").strip()
    try:
        return version("athanor")
    except PackageNotFoundError:
        return "source"
