"""What keeps a node from doing something for its machines."""

from workers.errors import WorkerError


class EngineFault(WorkerError):
    """The Docker engine, or the node's own system, does not answer or refuses: one sentence."""
