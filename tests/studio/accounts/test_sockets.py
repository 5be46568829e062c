"""Who may open a WebSocket: tokens from anywhere, sessions only from our own pages."""

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator

from studio.accounts.services import create_personal_token
from studio.asgi import application
from studio.jobs import consumers

TIMEOUT_S = 10

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def make_socket(**headers):
    scope = {
        "type": "websocket",
        "path": "/ws/me/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "subprotocols": [],
    }
    return ApplicationCommunicator(application, scope)


async def open_socket(**headers):
    """Return `open`, or the code with which it is closed once it was; `refused` before."""
    socket = make_socket(**headers)
    await socket.send_input({"type": "websocket.connect"})
    answer = await socket.receive_output(TIMEOUT_S)
    if answer["type"] == "websocket.close":
        return "refused"
    if not await socket.receive_nothing(0.5):
        return (await socket.receive_output(TIMEOUT_S))["code"]
    await socket.send_input({"type": "websocket.disconnect", "code": 1000})
    await socket.wait(TIMEOUT_S)
    return "open"


def make_token(user, scopes):
    return create_personal_token(user=user, name="script", scopes=scopes, expires_in_days=None)[1]


def test_a_token_opens_it_without_an_origin(alice):
    raw = make_token(alice, ["read"])
    assert async_to_sync(open_socket)(authorization=f"Bearer {raw}") == "open"


def test_an_unknown_token_is_not_signed_in(db):
    assert async_to_sync(open_socket)(authorization="Bearer ath_no-such-token") == 4401


def test_a_token_without_the_scope_is_not_signed_in(alice):
    raw = make_token(alice, ["chat"])
    assert async_to_sync(open_socket)(authorization=f"Bearer {raw}") == 4401


@pytest.mark.parametrize(
    ("origin", "answered"),
    [
        ("http://localhost:8600", "open"),
        ("http://localhost:8601", "refused"),
        ("https://evil.example", "refused"),
        ("null", "refused"),
    ],
)
def test_a_session_opens_it_only_from_its_own_pages(alice, api, settings, origin, answered):
    memory = "channels.layers.InMemoryChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": memory}}
    cookie = api(alice).cookies.output(header="", sep=";").strip()
    host = "localhost:8600"
    assert async_to_sync(open_socket)(cookie=cookie, origin=origin, host=host) == answered


def test_who_signs_out_is_shown_out_of_open_sockets(alice, api, settings, monkeypatch):
    memory = "channels.layers.InMemoryChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": memory}}
    monkeypatch.setattr(consumers, "RECHECK_S", 0.0)
    browser = api(alice)
    cookie = browser.cookies.output(header="", sep=";").strip()
    host = {"origin": "http://localhost:8600", "host": "localhost:8600"}
    is_out = threading.Event()

    def sign_out_and_hold_the_shared_thread():
        browser.logout()
        is_out.wait(60)

    async def open_and_sign_out():
        socket = make_socket(cookie=cookie, **host)
        await socket.send_input({"type": "websocket.connect"})
        assert (await socket.receive_output(TIMEOUT_S))["type"] == "websocket.accept"
        holding = asyncio.create_task(sync_to_async(sign_out_and_hold_the_shared_thread)())
        try:
            return (await socket.receive_output(TIMEOUT_S))["code"]
        finally:
            is_out.set()
            await holding

    assert async_to_sync(open_and_sign_out)() == 4412
    assert async_to_sync(open_socket)(cookie=cookie, **host) == 4401


def test_a_disabled_persons_token_is_not_signed_in(alice):
    raw = make_token(alice, ["read"])

    async def disable_and_open():
        alice.is_active = False
        await sync_to_async(alice.save)()
        return await open_socket(authorization=f"Bearer {raw}")

    assert async_to_sync(disable_and_open)() == 4401
