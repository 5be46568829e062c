"""What other apps want to hear of runs, so that jobs need not import them.

An app registers its listener for a job kind in its `AppConfig.ready`.
"""

from dataclasses import dataclass
from typing import Protocol

from engine.events import Endpoint
from studio.jobs.models import Run


class Listener(Protocol):
    """Hears of the runs of one kind. Called inside the transaction that stores the event."""

    def on_endpoint(self, run: Run, event: Endpoint) -> None:
        """The run's server is up."""

    def on_end(self, run: Run) -> None:
        """The run has reached a final status."""

    def get_server_token(self, run: Run) -> str | None:
        """Return what the run's server shall ask of its callers; goes into the order."""


@dataclass(frozen=True)
class Silent:
    """The listener of a kind nobody registered for."""

    def on_endpoint(self, run: Run, event: Endpoint) -> None:
        """Do nothing."""

    def on_end(self, run: Run) -> None:
        """Do nothing."""

    def get_server_token(self, run: Run) -> str | None:
        """Return None: no server, no token."""
        return None


_listeners: dict[str, Listener] = {}


def register(kind: str, listener: Listener) -> None:
    """Make `listener` hear of every run whose job is of this kind."""
    _listeners[kind] = listener


def get_listener(kind: str) -> Listener:
    """Return who listens to this kind."""
    return _listeners.get(kind, Silent())
