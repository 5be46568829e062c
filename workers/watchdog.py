"""Proves that the worker consumes: a ping sent to its own queue must come back through the broker.

A Celery worker can outlive its consumer after a Redis reset (celery issues 8030 and 10205): alive,
connected, deaf. When the broker takes pings and none returns, the process ends, and its parent
starts a fresh one.
"""

import os
import threading
import uuid

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from workers.orders import PING
from workers.tasks import last_ping

log = structlog.get_logger()

PING_EVERY_S = 5.0
MISSES_ALLOWED = 4
EXIT_CODE = 70


class Watchdog:
    """A thread beside the consumer."""

    def __init__(self, app: Celery) -> None:
        """Take the app whose default queue is watched."""
        self._app = app
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin watching; called when the consumer is up."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching: a worker that shuts down need not answer."""
        self._stopped.set()

    def _watch(self) -> None:
        misses = 0
        while not self._stopped.is_set():
            stamp = uuid.uuid4().hex
            was_sent = self._send(stamp)
            if self._stopped.wait(PING_EVERY_S):
                return
            misses = misses + 1 if was_sent and last_ping.get("stamp") != stamp else 0
            if misses >= MISSES_ALLOWED:
                log.error("consumer_deaf", misses=misses)
                os._exit(
                    EXIT_CODE
                )  # the main thread hangs in the consumer: nothing gentler reaches it

    def _send(self, stamp: str) -> bool:
        try:
            self._app.send_task(
                PING, args=[stamp], expires=PING_EVERY_S, retry=False, ignore_result=True
            )
        except (OperationalError, RedisError, OSError):
            return False  # no broker, no verdict
        return True
