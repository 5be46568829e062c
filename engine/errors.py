"""What can go wrong in a run that its owner can understand: a reason and one sentence."""

from engine.status import Reason


class EngineError(Exception):
    """Ends a run with a reason; the message is one sentence: what is wrong, and the mend."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class StopRequested(BaseException):
    """The run was asked to stop. Not an `Exception`: nothing on the way up may swallow it."""


class WorkEnded(Exception):
    """The work in a container has ended other than well. The log is its own: nothing is added."""

    def __init__(self, reason: Reason, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.exit_code = exit_code
