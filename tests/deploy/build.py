"""Builds the images of compose.yaml from supplies, offline: for the tests, and before them.

    python -m tests.deploy.build

Most of it is unpacking, so `make test` does it beside the tests that need no engine.
"""

import signal
import sys
import tempfile
from pathlib import Path

from tests.deploy.engine import DockerEngine, run_engine, why_not
from tests.deploy.supplies import get_base_tree, make_context

BASE = "athanor-test-base"
IMAGES = Path(__file__).parent / "images"


def build_images(engine: DockerEngine, context: Path) -> None:
    """Build every image; what has not changed since the last time is found again."""
    engine.import_tree(get_base_tree(), BASE)
    for name in ("postgres", "nginx"):
        engine.build(IMAGES / f"{name}.Dockerfile", IMAGES, f"athanor-test-{name}", BASE=BASE)
    offline = {"BASE": BASE, "PIP_OPTIONS": "--no-index"}
    engine.build(context / "deploy" / "studio.Dockerfile", context, "athanor-studio", **offline)
    engine.build(
        context / "workers" / "images" / "node.Dockerfile", context, "athanor-node", **offline
    )


def main() -> int:
    """Build once; without an engine there is nothing to do, and the tests say so."""
    if why_not():
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and so end the engine as well
    with tempfile.TemporaryDirectory() as folder:
        context = make_context(Path(folder))
        with run_engine() as engine:
            build_images(engine, context)
    return 0


if __name__ == "__main__":
    sys.exit(main())
