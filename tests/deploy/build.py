"""Builds the images of compose.yaml from supplies, offline."""

from pathlib import Path

from tests.deploy.engine import DockerEngine
from tests.deploy.supplies import get_base_tree

BASE = "athanor-test-base"
IMAGES = Path(__file__).parent / "images"


def build_images(engine: DockerEngine, context: Path) -> None:
    """Build every image; what has not changed since the last time is found again."""
    engine.import_tree(get_base_tree(), BASE)
    for name in ("postgres", "nginx"):
        engine.build(IMAGES / f"{name}.Dockerfile", IMAGES, f"athanor-test-{name}", BASE=BASE)
    offline = {"BASE": BASE, "PIP_OPTIONS": "--no-index"}
    engine.build(context / "deploy" / "studio.Dockerfile", context, "athanor-studio", **offline)
    node = context / "workers" / "images" / "node.Dockerfile"
    engine.build(node, context, "athanor-node", COMPILER="", **offline)
