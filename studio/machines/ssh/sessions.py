"""One SSH session, such as a shell, a command or SFTP: carried to the machine's own sshd."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import asyncssh
import structlog

from studio.core.errors import StudioError

Upstream = Callable[[str | None], Coroutine[Any, Any, asyncssh.SSHClientConnection]]
log = structlog.get_logger(__name__)

_FAILED = 255  # what `ssh` itself ends with when it could not


class GuestSession(asyncssh.SSHServerSession[bytes]):
    """What the guest's client asked for. Bytes wait on their own side while the other is slow."""

    def __init__(self, upstream: Upstream, touch: Callable[[], None]) -> None:
        """Take how to reach the machine, and what to tell that something moved."""
        self._upstream, self._touch = upstream, touch
        self._command: str | None = None
        self._subsystem: str | None = None
        self._chan: asyncssh.SSHServerChannel[bytes] | None = None
        self._inner: asyncssh.SSHClientChannel[bytes] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        self._is_over = False

    def tell(self, sentence: str) -> None:
        """Say something to the guest, beside what the machine says."""
        if self._chan is not None and not self._chan.is_closing():
            self._chan.write_stderr(f"\r\nathanor: {sentence}\r\n".encode())

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """Keep the channel."""
        self._chan = chan

    def pty_requested(self, *args: Any) -> bool:
        """Take a terminal; its facts are read from the channel."""
        return True

    def shell_requested(self) -> bool:
        """Take a shell."""
        return True

    def exec_requested(self, command: str) -> bool:
        """Take a command."""
        self._command = command
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """Take a subsystem, such as SFTP; the machine's sshd knows which it has."""
        self._subsystem = subsystem
        return True

    def session_started(self) -> None:
        """Open the same in the machine; what the guest sends meanwhile is kept."""
        self._opening = asyncio.create_task(self._open())

    async def _open(self) -> None:
        chan = self._chan
        assert chan is not None
        try:
            machine = await self._upstream(chan.get_agent_path())
            self._inner, _ = await machine.create_session(
                lambda: MachineSession(chan, self._touch),
                command=self._command if self._command is not None else (),
                subsystem=self._subsystem if self._subsystem is not None else (),
                env=list(chan.get_environment().items()),
                term_type=chan.get_terminal_type() or (),
                term_size=chan.get_terminal_size() if chan.get_terminal_type() else (),
                term_modes=chan.get_terminal_modes() if chan.get_terminal_type() else (),
                encoding=None,
            )
        except Exception as error:  # the task's outermost frame: a guest must not wait for ever
            if not isinstance(error, StudioError | asyncssh.Error | OSError):
                log.exception("ssh.session_failed")
            self.tell(_say(error))
            chan.exit(_FAILED)
            return
        for piece in self._early:
            self._inner.write(piece)
        self._early.clear()
        if self._is_over:
            self._inner.write_eof()
        chan.resume_reading()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Pass on what the guest sends."""
        self._touch()
        if self._inner is not None:
            self._inner.write(data)
        elif self._chan is not None:
            self._early.append(data)
            self._chan.pause_reading()  # no more than what is on its way already

    def eof_received(self) -> bool:
        """Pass on that the guest sends no more; the answer may still come."""
        self._is_over = True
        if self._inner is not None:
            self._inner.write_eof()
        return True

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """Pass on the window's new size."""
        if self._inner is not None:
            self._inner.change_terminal_size(width, height, pixwidth, pixheight)

    def signal_received(self, signal: str) -> None:
        """Pass on a signal."""
        if self._inner is not None:
            self._inner.send_signal(signal)

    def break_received(self, msec: int) -> bool:
        """Pass on a break."""
        if self._inner is not None:
            self._inner.send_break(msec)
        return True

    def pause_writing(self) -> None:
        """Have the machine wait: the guest is slow."""
        if self._inner is not None:
            self._inner.pause_reading()

    def resume_writing(self) -> None:
        """Have the machine go on."""
        if self._inner is not None:
            self._inner.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what was opened in the machine."""
        if self._opening is not None:
            self._opening.cancel()
        if self._inner is not None:
            self._inner.close()


class MachineSession(asyncssh.SSHClientSession[bytes]):
    """The machine's side of a session."""

    def __init__(self, guest: asyncssh.SSHServerChannel[bytes], touch: Callable[[], None]) -> None:
        """Take the guest's channel."""
        self._guest, self._touch = guest, touch
        self._end: Callable[[], None] = lambda: guest.exit(_FAILED)  # it was cut off
        self._is_silent = self._has_ended = False

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Pass on what the machine says, errors as errors."""
        self._touch()
        if not self._guest.is_closing():
            self._guest.write(data, datatype)

    def eof_received(self) -> bool:
        """Note that the machine says no more.

        The guest hears it together with the status, never alone: a client that has heard the end
        of both directions closes the channel, and a status that comes then is lost to it.
        """
        self._is_silent = True
        self._end_if_whole()
        return True

    def _end_if_whole(self) -> None:
        if self._is_silent and self._has_ended:
            self._end()

    def pause_writing(self) -> None:
        """Have the guest wait: the machine is slow."""
        self._guest.pause_reading()

    def resume_writing(self) -> None:
        """Have the guest go on."""
        self._guest.resume_reading()

    def exit_status_received(self, status: int) -> None:
        """Keep how it ended until its end of file: its last bytes may come after this."""
        self._end = lambda: self._guest.exit(status)
        self._has_ended = True
        self._end_if_whole()

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Keep which signal ended it, as a status is kept."""
        self._end = lambda: self._guest.exit_with_signal(signal, core_dumped, msg, lang)
        self._has_ended = True
        self._end_if_whole()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the guest's side the way the machine's ended; one that is closed already stays so.

        asyncssh calls a channel closing as soon as its end of file was sent: that is no reason.
        """
        self._end()


def _say(error: Exception) -> str:
    if isinstance(error, StudioError):
        return error.message
    if isinstance(error, asyncssh.ChannelOpenError):
        return f"the machine refuses: {error.reason}"
    return "the machine's SSH server does not answer: restart the machine."
