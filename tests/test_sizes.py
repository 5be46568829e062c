"""Files and functions stay small enough to be read in one sitting (STYLE: 500 lines, 50 lines)."""

import ast
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("engine", "workers", "studio", "clients", "bench", "scripts", "tests")
MOST_FILE_LINES = 500
MOST_FUNCTION_LINES = 50
SETTINGS_LINES = 250
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager", "misc"}

# path or path::function -> why it may be longer
EXCEPTIONS: dict[str, str] = {
    # Copied alone into images that may have nothing but a Python.
    "workers/images/machine/athanor_machine.py": "one file that runs anywhere",
}


def list_sources() -> Iterator[Path]:
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            if "migrations" not in path.parts and "static" not in path.parts:
                yield path
    for suffix in ("*.ts", "*.tsx"):
        for path in sorted((ROOT / "frontend" / "src").rglob(suffix)):
            if path.name != "types.ts":  # generated
                yield path


@contextmanager
def no_collection() -> Iterator[None]:
    """A finalizer that parses while we do makes CPython 3.11 raise SystemError (gh-106905)."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def parse(path: Path) -> ast.Module:
    with no_collection():
        return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_file_is_longer_than_500_lines():
    long = {name_of(path): len(path.read_text().splitlines()) for path in list_sources()}
    assert len(long) > 50
    assert {
        name: lines
        for name, lines in long.items()
        if lines > MOST_FILE_LINES and name not in EXCEPTIONS
    } == {}


def test_no_function_is_longer_than_50_lines():
    long = {}
    for path in list_sources():
        if path.suffix != ".py":
            continue
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MOST_FUNCTION_LINES:
                    long[f"{name_of(path)}::{node.name}"] = lines
    assert {name: lines for name, lines in long.items() if name not in EXCEPTIONS} == {}


def test_settings_stay_short():
    assert len((ROOT / "studio" / "settings.py").read_text().splitlines()) <= SETTINGS_LINES


def test_no_module_is_a_drawer_for_everything():
    drawers = [name_of(path) for path in list_sources() if path.stem in FORBIDDEN_NAMES]
    assert drawers == []


def test_every_exception_is_still_needed():
    for name in EXCEPTIONS:
        path, _, function = name.partition("::")
        text = (ROOT / path).read_text()
        assert function in text
        assert function or len(text.splitlines()) > MOST_FILE_LINES
