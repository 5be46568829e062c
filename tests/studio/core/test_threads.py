"""Questions of async code: none waits for a slow one, and none keeps its connection."""

import asyncio
import threading

import pytest
from django.db import connection

from studio.accounts.models import User
from studio.core.threads import in_a_thread

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


async def test_a_slow_question_keeps_no_other_waiting():
    may_end = threading.Event()
    slow = asyncio.ensure_future(in_a_thread(may_end.wait)(20))
    counted = await asyncio.gather(*(in_a_thread(User.objects.count)() for _ in range(20)))
    assert len(counted) == 20 and not slow.done()
    may_end.set()
    assert await slow


async def test_a_thread_keeps_no_connection():
    def ask():
        assert User.objects.count() == 0
        return connection  # this thread's own

    used = await in_a_thread(ask)()
    assert used.connection is None
