"""What answers in place of an IDE inside a machine, and the browser's side of it.

    python -m tests.deploy.ide_program ADDRESS PORT

As VS Code's server does, it keeps a session for who comes back after a cut: each connection hears
what the program has of its session, and a number that was missed on the way ends the connection.
"""

import asyncio
import logging
import sys
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

_GAP = 4000
_PACE_S = 0.5
_AGAIN_S = 0.25
_PATIENCE_S = 60


async def answer(connection: ServerConnection, had: dict[str, int]) -> None:
    """Count a session's messages on; one that comes again is heard once."""
    assert connection.request is not None
    session = connection.request.path
    await connection.send(str(had.setdefault(session, 0)))
    async for message in connection:
        number = int(message)
        if number > had[session] + 1:
            await connection.close(_GAP, f"{had[session]} and then {number}")
            return
        had[session] = max(had[session], number)
        await connection.send(str(number))


async def run_program(address: str, port: int) -> None:
    """Listen until killed: WebSockets, and one page for whoever asks over HTTP."""
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # bare connections that ask nothing
    had: dict[str, int] = {}

    def show_page(connection: ServerConnection, request: Any) -> Any:
        if "Upgrade" not in request.headers:
            return connection.respond(HTTPStatus.OK, "the IDE\n")
        return None

    async with serve(
        lambda connection: answer(connection, had),
        address,
        port,
        process_request=show_page,
        ping_interval=None,
    ):
        await asyncio.Event().wait()


@dataclass
class Ide:
    """One socket of an IDE's page: what it had answered, and how it fared."""

    host: str
    """Of its machine's port, as the browser names it."""
    cookie: str
    session: str
    port: int
    """The studio's."""
    num_answered: int = 0
    num_opened: int = 0
    num_refused: int = 0
    """Tries that the studio itself answered with no."""
    is_open: bool = False
    faults: list[str] = field(default_factory=list)
    away_s: list[float] = field(default_factory=list)
    """How long it was without a connection, each time."""

    async def live(self) -> None:
        """Be there until cancelled, and come back whenever it is cut off."""
        cut_at: float | None = None
        while True:
            try:
                await self._visit(cut_at)
            except InvalidStatus:
                self.num_refused += 1
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd.code == _GAP:
                    self.faults.append(closed.rcvd.reason)
            except (OSError, TimeoutError, InvalidHandshake):  # nobody is there yet
                pass
            if self.is_open:
                self.is_open, cut_at = False, time.monotonic()
            await asyncio.sleep(_AGAIN_S)

    async def _visit(self, cut_at: float | None) -> None:
        async with connect(
            f"ws://{self.host}/{self.session}",
            host="127.0.0.1",
            port=self.port,
            origin=f"http://{self.host}",
            additional_headers={"Cookie": self.cookie},
            open_timeout=_PATIENCE_S,
            ping_interval=None,
            proxy=None,
        ) as socket:
            had = int(await socket.recv())
            if not self.num_answered <= had <= self.num_answered + 1:
                self.faults.append(f"{self.num_answered} were answered, and it has {had}")
            self.num_answered = had
            self.num_opened += 1
            self.is_open = True
            if cut_at is not None:
                self.away_s.append(time.monotonic() - cut_at)
            while True:
                await socket.send(str(self.num_answered + 1))
                said = int(await socket.recv())
                if said != self.num_answered + 1:
                    self.faults.append(f"{said} was answered to {self.num_answered + 1}")
                self.num_answered = said
                await asyncio.sleep(_PACE_S)


if __name__ == "__main__":
    asyncio.run(run_program(sys.argv[1], int(sys.argv[2])))
