"""`GET /healthz`: does a row, a key and an order come back? Each by a real round trip."""

import time
from collections.abc import Callable
from typing import Any

import redis
from celery.exceptions import TimeoutError as NoAnswer
from django.conf import settings
from django.core.cache import cache
from django.db import Error as DatabaseError
from django.db import connection
from django.http import HttpRequest, JsonResponse
from kombu.exceptions import OperationalError

from studio.celery import app
from studio.compute.selectors import list_online_node_names
from workers.orders import ping_node

_PING_TIMEOUT_S = 3.0


def _database() -> str | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return None if cursor.fetchone() == (1,) else "the database answered nonsense"


def _redis() -> str | None:
    stamp = str(time.time_ns())
    cache.set("healthz", stamp, 30)
    return None if cache.get("healthz") else "a key written is not read back"


def _worker() -> str | None:
    names = list_online_node_names()
    if not names:
        return "no node is online"
    silent = []
    for name in names:
        try:
            ping_node(app, node=name, timeout_s=_PING_TIMEOUT_S)
            return None
        except NoAnswer:
            silent.append(name)
    return f"no worker answers on {', '.join(silent)}"


def _probe(part: Callable[[], str | None]) -> dict[str, Any]:
    begun = time.perf_counter()
    try:
        problem = part()
    except (DatabaseError, redis.RedisError, OperationalError, OSError) as error:
        problem = f"{type(error).__name__}: away"
    elapsed_ms = round((time.perf_counter() - begun) * 1000, 1)
    return {"ok": problem is None, "ms": elapsed_ms, "problem": problem}


def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when every part answers, else 503 with the part that does not."""
    parts = {"database": _probe(_database), "redis": _probe(_redis)}
    # Redis carries the order: without it the worker cannot be asked.
    away = {"ok": False, "ms": 0.0, "problem": "Redis is away"}
    parts["worker"] = _probe(_worker) if parts["redis"]["ok"] and parts["database"]["ok"] else away
    is_ok = all(part["ok"] for part in parts.values())
    return JsonResponse(
        {"ok": is_ok, **parts, "version": settings.VERSION}, status=200 if is_ok else 503
    )
