"""What the studio may ask of a node's dev machines, and what the node answers.

Not a list of commands but of what shall be: a node that was away, or a studio that was, compares
again and nothing is done twice. Light enough for the studio to import.
"""

import hashlib
import hmac
import secrets
import time
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workers.machines.measures import MOST_TOLD_MINUTES, MachineUsage, UsageMinute
from workers.unreadable import name_fields

MACHINE_ID = r"^[a-z0-9][a-z0-9-]{0,62}$"  # part of a container's and a folder's name
TENANT = r"^[a-z0-9][a-z0-9-]{0,31}$"
IMAGE = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$"  # never an option
FOLDER = r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$"  # below a folder of the node's, never out of it


PASS_LASTS_S = 60
MOCK_DEVICE = "MOCK-"
"""How the UUID of a GPU that is not there begins: for trying out placement without one."""


def bell_name(node: str) -> str:
    """Return the channel of the studio's Redis that tells a node to ask for its orders now."""
    return f"athanor.machines.{node}"


def make_relay_pass(key: str, target: str) -> str:
    """Return what opens a relay for one connection to `<machine>:<port>`, for a minute.

    `key` is what studio and node both have and nobody else: the SHA-256 of the node's token.
    """
    stamp, nonce = str(int(time.time())), secrets.token_hex(8)
    return f"{stamp}.{nonce}.{_sign(key, target, stamp, nonce)}"


def is_relay_pass(key: str, target: str, given: str) -> bool:
    """Say whether a pass was made with this key for this target, within the last minute."""
    stamp, _, rest = given.partition(".")
    nonce, _, signature = rest.partition(".")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return False
    is_fresh = abs(time.time() - int(stamp)) <= PASS_LASTS_S
    wanted = _sign(key, target, stamp, nonce).encode()
    return hmac.compare_digest(wanted, signature.encode()) and is_fresh


def _sign(key: str, target: str, stamp: str, nonce: str) -> str:
    text = f"athanor relay\n{target}\n{stamp}\n{nonce}".encode()
    return hmac.new(key.encode(), text, hashlib.sha256).hexdigest()


class MachineLimits(BaseModel):
    """How much of the node a machine may use."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    cpus: float = Field(gt=0, le=1024)
    memory_bytes: int = Field(ge=64 * 2**20, lt=2**50)
    """Of all its processes; there is no swap beyond it."""
    shm_bytes: int = Field(default=64 * 2**20, ge=2**20, lt=2**50)
    """Of `/dev/shm`, within the memory."""
    pids: int = Field(default=2048, ge=16, le=65_536)
    disk_bytes: int | None = Field(default=None, ge=2**20, lt=2**50)
    """Of what is written beside /root and /scratch, where the engine's storage can limit it."""
    scratch_bytes: int | None = Field(default=None, ge=16 * 2**20, lt=2**44)
    """Of /scratch; of a script's /output."""
    open_files: int | None = Field(default=None, ge=256, le=2**20)
    """Of one process; None leaves it to the engine. More than the engine may itself is refused."""


class MachineOrder(BaseModel):
    """What one dev machine shall be. A node ends every machine that it has no order for."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    machine: str = Field(pattern=MACHINE_ID)
    life: int = Field(ge=1)
    """Raised where the container shall be made anew: another image, other limits, a reset."""
    start: int = Field(default=0, ge=0)
    """Raised with each start that its owner asks for; one that has been done is not done again, so
    a machine that ended by itself stays ended until somebody says otherwise."""
    is_running: bool
    image: str = Field(pattern=IMAGE)
    """Known to the node's engine, by digest or id: a tag may be another image tomorrow."""
    hostname: str = Field(pattern=MACHINE_ID)
    tenant: str = Field(pattern=TENANT)
    """Machines of one tenant share a network, and no others are on it."""
    home: str = Field(pattern=FOLDER)
    """The folder of its owner's drive, below the node's folder of drives; it is `/root`."""
    limits: MachineLimits
    devices: tuple[str, ...] = Field(default=(), max_length=64)
    """The GPUs it may use, by NVIDIA's UUID; a `MOCK-` one is only told of."""
    device_percent: int = Field(default=100, ge=1, le=100)
    """How much of each; below 100 its programs are told their share of the memory."""
    environment: dict[str, str] = Field(default={}, max_length=100)
    """Nothing secret: everybody who may ask the engine sees it."""
    lab_port: int = Field(default=8888, ge=1, le=65535)
    """Where its Jupyter listens, if it has one."""
    ports: tuple[int, ...] = Field(default=(), max_length=30)
    """Where its tools listen: the node says which of them answer."""
    save: str | None = Field(default=None, pattern=MACHINE_ID)
    """Make an image of its container, once, and know it by this key."""
    secrets: dict[str, str] = Field(default={}, max_length=20)
    """File name to content, below `/run/athanor`, in memory only."""


class UnreadOrder(BaseModel):
    """A machine whose order cannot be read here, of a studio of another age."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    machine: str = Field(pattern=MACHINE_ID)
    life: int = Field(default=0, ge=0)
    start: int = Field(default=0, ge=0)
    """Both as in its order; 0 where they cannot be read either."""
    shall_stop: bool = False
    """Its order says so, whatever else it says."""
    fields: tuple[str, ...] = ()
    """What cannot be read: `limits.cpus`."""


class MachinePhase(Enum):
    """Where a machine's container is."""

    ABSENT = "absent"
    CREATING = "creating"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    """What shall be cannot be brought about now; it is tried again."""


class MachineState(BaseModel):
    """What a node says of one machine."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    machine: str = Field(max_length=63)
    life: int = Field(ge=0, default=0)
    start: int = Field(ge=0, default=0)
    """The last start that was done."""
    phase: MachinePhase
    message: str = Field(default="", max_length=500)
    """Why it failed or ended, one sentence."""
    exit_code: int | None = None
    was_out_of_memory: bool = False
    started_at: float | None = None
    """Unix seconds by the engine's clock."""
    ended_at: float | None = None
    address: str = Field(default="", max_length=45)
    """On the node's own networks; blank while it does not run."""
    is_created: bool = False
    """Its container is there, started or not."""
    ready_ports: tuple[int, ...] = Field(default=(), max_length=30)
    """Of the ports in its order those that have answered in this start."""
    usage: MachineUsage | None = None
    """Where it was measured since the last report."""
    minutes: tuple[UsageMinute, ...] = Field(default=(), max_length=MOST_TOLD_MINUTES)
    """Oldest first, of those that are over and that no report has told yet."""


class SavedState(BaseModel):
    """What has come of saving a machine as an image: the image, or why there is none."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    key: str = Field(max_length=63)
    image: str = Field(default="", max_length=100)
    """Its id."""
    size_bytes: int = Field(default=0, ge=0, lt=2**60)
    problem: str = Field(default="", max_length=500)
    """One sentence; blank where it is saved."""


class MachineReport(BaseModel):
    """What a node says of all its machines."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    engine: str = Field(max_length=100)
    """The Docker engine's version; blank where none answers."""
    problem: str = Field(default="", max_length=500)
    """Why no machine can run here now, one sentence."""
    relay_host: str = Field(default="", max_length=255)
    relay_port: int = Field(default=0, ge=0, le=65535)
    """Where the studio reaches the node's relay."""
    studio_url: str = Field(default="", max_length=255)
    """Where machines of this node reach the studio."""
    images: tuple[str, ...] | None = Field(default=None, max_length=2_000)
    """Ids and digests of the images that the engine has; None where it has not looked again."""
    strays: tuple[str, ...] = Field(default=(), max_length=10_000)
    """Machines that are here still and that it has no order for: it is ending them."""
    unlimited: tuple[str, ...] = Field(default=(), max_length=10)
    """What of its disk this node cannot limit: `layer`, `scratch`."""
    machines: list[MachineState] = Field(max_length=10_000)
    saved: tuple[SavedState, ...] = Field(default=(), max_length=10_000)
    """What has come of the orders to save a machine."""


class MachineAnswer(BaseModel):
    """What the studio wants of a node's machines now."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    orders: tuple[MachineOrder, ...] = Field(default=(), max_length=10_000)
    saved: tuple[str, ...] | None = Field(default=None, max_length=100_000)
    """The saved images that the node shall keep; None says nothing of them."""
    usual_image: str = Field(default="", max_length=255)
    """What most machines are made of: of this a node keeps spares. Blank is none."""
    disk_bytes: int | None = None
    scratch_bytes: int | None = None
    """What `MachineLimits` of each order says: a spare is made with it."""
    unread: tuple[UnreadOrder, ...] = ()
    """Of the orders those that cannot be read here; the studio sends none."""

    @model_validator(mode="before")
    @classmethod
    def _set_unread_aside(cls, said: Any) -> Any:
        """Let one order that cannot be read spoil no other."""
        if not isinstance(said, dict) or not isinstance(said.get("orders"), list):
            return said
        orders: list[MachineOrder] = []
        unread: list[UnreadOrder] = []
        for each in said["orders"]:
            try:
                orders.append(MachineOrder.model_validate(each))
            except ValidationError as error:
                unread.append(_head_of(each, error))
        return {**said, "orders": orders, "unread": unread}


def _head_of(said: Any, problem: ValidationError) -> UnreadOrder:
    head = said if isinstance(said, dict) else {}
    numbers = {name: head.get(name) for name in ("life", "start")}
    return UnreadOrder(
        machine=head.get("machine", ""),
        shall_stop=head.get("is_running") is False,
        fields=tuple(name_fields(problem)),
        **{name: n for name, n in numbers.items() if type(n) is int and n > 0},
    )
