"""What the studio may ask of a node, and how it is sent. Light enough for the studio to import."""

from typing import Any

from celery import Celery
from celery.exceptions import TaskRevokedError, TimeoutError
from pydantic import BaseModel, ConfigDict, Field

from engine.specs import JobSpec

RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$"  # never a path
START_RUN = "workers.tasks.start_run"
PING = "workers.tasks.ping"


class RunOrder(BaseModel):
    """Start one run, once. Sent as JSON; a node that has seen `run_id` before does nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    run_id: str = Field(pattern=RUN_ID)
    """Also the name of the run's folder on the node."""
    job_id: str
    run_index: int = Field(ge=1)
    spec: JobSpec
    run_token: str
    """Bearer token of the run: claims it, posts its events, reads and writes its repos."""
    num_threads: int = Field(default=0, ge=0)
    memory_bytes: int | None = None
    devices: tuple[int, ...] = ()
    push_to: str | None = None
    """Repo id in the studio's hub that receives what the run makes."""
    server_token: str | None = None
    """What a server asks of its callers."""
    resume_run_id: str | None = Field(default=None, pattern=RUN_ID)
    """Go on from the last checkpoint of this run, where the node still has it."""
    provenance: dict[str, str] = {}
    issued_at: float
    """Unix seconds."""
    expires_at: float
    """Unix seconds; a run not claimed by then is not started."""


def queue_name(node: str) -> str:
    """Return the queue that one node alone consumes."""
    return f"node.{node}"


def send_run_order(app: Celery, order: RunOrder, *, node: str) -> None:
    """Put an order on a node's queue.

    Raises:
        kombu.exceptions.OperationalError: the broker is away; the caller sends again later.
    """
    app.send_task(
        START_RUN,
        args=[order.model_dump_json()],
        queue=queue_name(node),
        expires=max(1.0, order.expires_at - order.issued_at),
        retry=False,
        ignore_result=True,  # or it would wait for the result store while Redis is away
    )


def ping_node(app: Celery, *, node: str, timeout_s: float) -> Any:
    """Ask a node's worker to answer, through the broker and back.

    Raises:
        celery.exceptions.TimeoutError: no answer within `timeout_s`.
    """
    result = app.send_task(PING, queue=queue_name(node), expires=timeout_s, retry=False)
    try:
        return result.get(timeout=timeout_s, disable_sync_subtasks=False)
    except TaskRevokedError as error:  # taken from the queue too late
        raise TimeoutError("the worker answered too late") from error
