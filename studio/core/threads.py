"""Where long-lived async code asks the database: in a few threads of its own.

`database_sync_to_async` alone has one thread for all that no request of Django's holds: there one
slow question keeps every other waiting.
"""

from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from channels.db import database_sync_to_async

P = ParamSpec("P")
T = TypeVar("T")
_MOST_AT_ONCE = 8
"""As many connections a process may have open for this; more than one slow question is rare."""
_POOL = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="question")


def in_a_thread(ask: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return `ask` to be awaited; its thread's connection is closed when it is done.

    It sees no transaction of the caller's: tests of it need `django_db(transaction=True)`.
    """
    return database_sync_to_async(ask, thread_sensitive=False, executor=_POOL)
