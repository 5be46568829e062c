"""What can go wrong on a node and is expected to."""


class WorkerError(Exception):
    """Root of the node's expected errors; the text is one sentence for the operator."""


class StudioAway(WorkerError):
    """The studio did not answer, or not now: try again."""


class StudioRefused(WorkerError):
    """The studio answered that this will not do: trying again unchanged is useless."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the studio refused ({status}): {message}")
        self.status = status
