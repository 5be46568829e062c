"""What a server tells Prometheus: counts and times, never who asked or which adapter answered.

Names of tenants and adapters would tell one tenant of another's; per-tenant usage is the gateway's.
"""

import threading
import time
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import asdict

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.serve.backend import Backend, BackendFacts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Seconds: from one decoded token to the longest answer that people wait for.
_TIMES_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

MAX_STEP_S = 120.0  # a step that takes longer will not end; the longest honest one took 20

_LONG_FACTS = ("chat_template", "fingerprints")  # and the second names adapters

_begun_at: ContextVar[float] = ContextVar("begun_at", default=0.0)

# Field of `BackendFacts` -> what it is; fields that only grow, and fields that say "now".
_COUNTS = {
    "num_steps": "Steps of the model",
    "num_prompt_tokens": "Prompt tokens of finished and running requests",
    "num_cached_tokens": "Prompt tokens whose keys and values lay ready",
    "num_tokens": "Tokens that were made",
    "num_preemptions": "Answers that gave their memory up to others for a while",
    "num_finished": "Answers that were finished",
    "num_failed": "Answers that failed",
    "busy_s": "Seconds spent in steps",
}
_GAUGES = {
    "num_running_now": "Answers under way",
    "num_waiting_now": "Requests that wait",
    "num_blocks": "Blocks of the cache",
    "num_blocks_used_now": "Blocks of the cache in use",
    "last_step_age_s": "Seconds since the last step ended while there was work",
}


class Meters:
    """Counts what the doors do, and asks the backend for the rest when it is read."""

    def __init__(self, backend: Backend, health: "Watchdog") -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_BackendCollector(backend, health))
        self._requests = Counter(
            "athanor_requests", "Answered requests", ["door", "status"], registry=self._registry
        )
        self._durations = Histogram(
            "athanor_request_seconds",
            "From a request's first byte to its answer's last",
            ["door"],
            buckets=_TIMES_S,
            registry=self._registry,
        )
        self._first_pieces = Histogram(
            "athanor_first_token_seconds",
            "From a request's first byte to its answer's first piece",
            buckets=_TIMES_S,
            registry=self._registry,
        )

    def begin(self) -> float:
        """Note that a request came; returns when."""
        now = time.monotonic()
        _begun_at.set(now)
        return now

    def end(self, begun_at: float, door: str, status: str) -> None:
        """Note that it was answered."""
        self._requests.labels(door, status).inc()
        self._durations.labels(door).observe(time.monotonic() - begun_at)

    def see_piece(self, *, is_first: bool) -> None:
        """Note a piece of the answer to this context's request."""
        if is_first and (begun_at := _begun_at.get()):
            self._first_pieces.observe(time.monotonic() - begun_at)

    def write(self) -> bytes:
        """Return all in Prometheus' text format."""
        return generate_latest(self._registry)


class Watchdog:
    """Judges a backend's health: it says so itself, and no step takes longer than the bound."""

    def __init__(self, backend: Backend, max_step_s: float = MAX_STEP_S) -> None:
        self._backend = backend
        self._max_step_s = max_step_s
        self._lock = threading.Lock()

    def judge(self) -> str:
        """Return ok, failed or hung."""
        with self._lock:  # asked by many, one look is enough at a time
            if not self._backend.is_healthy():
                return "failed"
            age_s = self._backend.describe().last_step_age_s
        return "hung" if age_s > self._max_step_s else "ok"

    def list_facts(self) -> dict[str, str | int | float]:
        """Return what the backend says of itself in single words and numbers."""
        facts = asdict(self._backend.describe())
        return {name: facts[name] for name in facts if name not in _LONG_FACTS}


class _BackendCollector(Collector):
    def __init__(self, backend: Backend, health: Watchdog) -> None:
        self._backend = backend
        self._health = health

    def describe(self) -> Iterable[Metric]:
        return []  # asked at registration, when the backend need not be ready

    def collect(self) -> Iterable[Metric]:
        facts: BackendFacts = self._backend.describe()
        for field, words in _COUNTS.items():
            yield CounterMetricFamily(_name(field), words, value=getattr(facts, field))
        for field, words in _GAUGES.items():
            yield GaugeMetricFamily(_name(field), words, value=getattr(facts, field))
        is_ok = self._health.judge() == "ok"
        yield GaugeMetricFamily("athanor_healthy", "1 while tokens can be made", value=int(is_ok))


def _name(field: str) -> str:
    """Return a field's name as Prometheus wants them: units in full."""
    name = field.removeprefix("num_").removesuffix("_now")
    return (
        f"athanor_{name.removesuffix('_s')}_seconds" if name.endswith("_s") else f"athanor_{name}"
    )
