"""What the studio may ask of a node, and how it is sent. Light enough for the studio to import."""

from enum import Enum
from typing import Any, Literal

from celery import Celery
from celery.exceptions import TaskRevokedError, TimeoutError
from pydantic import BaseModel, ConfigDict, Field

from engine.specs import JobSpec
from workers.machines.orders import FOLDER, IMAGE, TENANT, MachineLimits

RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$"  # never a path
# Parts of a path on the node, so neither is `..` nor hidden.
REPO_ID = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.\-]{0,95}$"
START_RUN = "workers.tasks.start_run"
PING = "workers.tasks.ping"


class ContainerOrder(BaseModel):
    """What a script's container is made of."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    image: str = Field(pattern=IMAGE)
    """Known to the node's engine, by digest or id: one that an operator has registered."""
    tenant: str = Field(pattern=TENANT)
    """Whose network it is on, with its owner's dev machines."""
    home: str | None = Field(default=None, pattern=FOLDER)
    """The folder of its owner's drive; None is an empty home."""
    limits: MachineLimits
    devices: tuple[str, ...] = Field(default=(), max_length=64)
    """The GPUs it may use, by NVIDIA's UUID; a `MOCK-` one is only told of."""


class OrderHead(BaseModel):
    """What a node must be able to read of any order, so that it can at least refuse the rest."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    run_id: str = Field(pattern=RUN_ID)
    """Also the name of the run's folder on the node."""
    run_token: str
    """Bearer token of the run: claims it, posts its events, reads and writes its repos."""
    expires_at: float
    """Unix seconds; a run not claimed by then is not started."""


class RunOrder(OrderHead):
    """Start one run, once. Sent as JSON; a node that has seen `run_id` before does nothing."""

    job_id: str
    run_index: int = Field(ge=1)
    spec: JobSpec
    num_threads: int = Field(default=0, ge=0)
    memory_bytes: int | None = None
    devices: tuple[int, ...] = ()
    container: ContainerOrder | None = None
    """For a script, which runs in a container or not at all."""
    push_to: str | None = None
    """Repo id in the studio's hub that receives what the run makes."""
    server_token: str | None = None
    """What a server asks of its callers."""
    resume_run_id: str | None = Field(default=None, pattern=RUN_ID)
    """Go on from the last checkpoint of this run, where the node still has it."""
    provenance: dict[str, str] = {}
    issued_at: float
    """Unix seconds."""


class ShareOrder(BaseModel):
    """One repo that a node shall lay out under /share."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    kind: Literal["model", "dataset"]
    repo: str = Field(pattern=REPO_ID)
    sha: str = Field(pattern=r"^[0-9a-f]{40}$")
    size_bytes: int = Field(ge=0)


class ShareProgress(Enum):
    """How far a node is with one repo of /share."""

    WAITING = "waiting"
    FETCHING = "fetching"
    READY = "ready"
    FAILED = "failed"


class ShareState(BaseModel):
    """What a node says of one repo of /share."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    kind: Literal["model", "dataset"]
    repo: str = Field(max_length=200)
    revision: str = Field(max_length=40)
    """The commit that is meant by the rest."""
    state: ShareProgress
    bytes_done: int = Field(default=0, ge=0, lt=2**62)
    bytes_total: int = Field(default=0, ge=0, lt=2**62)
    message: str = Field(default="", max_length=500)
    """Why it failed or waits, one sentence."""


class ShareReport(BaseModel):
    """What a node says of its disk's part in the hub."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    cache_bytes: int = Field(ge=0, lt=2**62)
    cache_limit_bytes: int = Field(ge=0, lt=2**62)
    share: list[ShareState] = Field(max_length=10_000)


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
