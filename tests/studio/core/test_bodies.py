"""Large bodies in memory that is used again: what comes is what is read, and no more."""

import asyncio

import pytest
from django.core.exceptions import RequestAborted

from studio.core import bodies
from studio.core.bodies import BodyView, StudioHandler


def receive_from(*pieces: bytes, broken: bool = False):
    messages = [
        {"type": "http.request", "body": piece, "more_body": broken or at < len(pieces) - 1}
        for at, piece in enumerate(pieces)
    ] + [{"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    return receive


def read(receive, buffer):
    async def run():
        token = bodies._buffer.set(buffer)
        try:
            return await StudioHandler().read_body(receive)
        finally:
            bodies._buffer.reset(token)

    return asyncio.run(run())


def test_a_body_is_put_together_in_the_buffer():
    body = read(receive_from(b"abc", b"", b"defg"), bytearray(b"x" * 20))
    assert bytes(body.read(4)) == b"abcd" and bytes(body.read()) == b"efg"
    assert bytes(body.read(5)) == b""
    body.close()


def test_a_body_over_the_buffer_is_cut_and_thereby_too_long():
    body = read(receive_from(b"abc", b"defg"), bytearray(5))
    assert bytes(body.read()) == b"abcde"


def test_a_body_of_nothing_is_empty():
    assert read(receive_from(b""), bytearray(5)).read() == b""


def test_a_client_that_goes_away_ends_the_request():
    with pytest.raises(RequestAborted):
        read(receive_from(b"abc", broken=True), bytearray(5))


def test_other_bodies_are_djangos_own():
    body = read(receive_from(b"abc"), None)
    assert not isinstance(body, BodyView) and body.read() == b"abc"
