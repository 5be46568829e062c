"""What a run says: one stream of numbered events, written to `events.jsonl` and carried up as is.

A contract module: pydantic and the standard library only. Unknown fields are ignored, so that an
old studio survives a new engine's extra ones; a new event *type* needs the studio upgraded first.
"""

import base64
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from engine.specs.inspect import Inspection
from engine.status import Reason, Status

LOG_CHUNK_BYTES = 65_536  # the most bytes one log event holds; a longer line spans several


class EventBase(BaseModel):
    """What every event has."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    seq: int = Field(ge=0)
    """Number of the event in its run, from 0, without gaps."""
    time: float
    """Unix seconds on the clock of the node that runs the engine."""


class Log(EventBase):
    """A piece of what the engine wrote to stdout and stderr, byte for byte.

    Pieces joined in order are exactly the bytes written: newlines, carriage returns and all. A
    piece may hold many lines, or a part of one.
    """

    type: Literal["log"] = "log"
    text: str | None = None
    """The piece as text, where it is valid UTF-8 without NUL."""
    data: str | None = None
    """The piece in base64, where it is not."""

    def to_bytes(self) -> bytes:
        """Return the piece as it was written."""
        if self.data is not None:
            return base64.b64decode(self.data)
        return (self.text or "").encode()


class Metric(EventBase):
    """Measured numbers at one optimizer step."""

    type: Literal["metric"] = "metric"
    step: int = Field(ge=0)
    values: dict[str, float]
    """By name: `loss` (nats per supervised token, or per pair), `learning_rate`, `grad_norm`,
    `tokens_per_s`, `supervised_tokens_per_s`, `memory_bytes`, `epoch`, `eta_s` (seconds still to
    go), `mfu` and `hfu` (shares of the machine's measured speed, 0..1), `flops_per_s` (operations
    done, the mean of the run's steps so far) and `roofline_flops_per_s` (that measured speed).
    Of SFT and pretraining `perplexity` and `accuracy` (share of learnt tokens foretold, 0..1); of
    pairs `accuracy` (share ranked rightly, 0..1) and `margin`, with `chosen_reward` and
    `rejected_reward` of DPO, or `chosen_score`, `rejected_score` and `mean_score` of a reward
    model. Loss and measures of held-out rows have `eval_` before their name."""


class Progress(EventBase):
    """How far a stage of the run is."""

    type: Literal["progress"] = "progress"
    stage: str
    """`prepare`, `fetch`, `load`, `train`, `evaluate`, `save` or `push`."""
    done: float = Field(ge=0)
    total: float | None = None
    unit: str = ""
    """What is counted, such as `step`, `byte` or `row`."""
    eta_s: float | None = None
    """Seconds still to go, where they can be told."""


class ArtifactEvent(EventBase):
    """Something the run made: a folder below its run directory, or a revision in a hub."""

    type: Literal["artifact"] = "artifact"
    name: str
    role: Literal["adapter", "checkpoint", "model", "report"]
    path: str | None = None
    """Folder or file, relative to the run directory."""
    repo: str | None = None
    revision: str | None = None
    size_bytes: int | None = None
    step: int | None = None


class Sample(EventBase):
    """Text the model made while in training."""

    type: Literal["sample"] = "sample"
    step: int = Field(ge=0)
    prompt: str
    completion: str


class Preview(EventBase):
    """What a training would learn of its data's first rows."""

    type: Literal["preview"] = "preview"
    inspection: Inspection


class Endpoint(EventBase):
    """A server is up at an address on the node's private network."""

    type: Literal["endpoint"] = "endpoint"
    url: str
    models: list[str] = []


class StatusEvent(EventBase):
    """The run has moved. The last event of a run is a StatusEvent with a final status."""

    type: Literal["status"] = "status"
    status: Status
    reason: Reason = Reason.NONE
    message: str = ""
    """One sentence for the owner: what happened and what to do."""
    exit_code: int | None = None
    """Exit status of the engine; negative is the signal that ended it."""
    log_bytes: int | None = None
    """With a final status: how many bytes the run logged."""
    log_sha256: str | None = None
    """With a final status: SHA-256 of those bytes, in hex."""


Event = Annotated[
    Log | Metric | Progress | ArtifactEvent | Sample | Preview | Endpoint | StatusEvent,
    Field(discriminator="type"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
EVENTS: TypeAdapter[list[Event]] = TypeAdapter(list[Event])


def encode_log(piece: bytes) -> dict[str, str]:
    """Return the `text` or `data` field that holds a piece of log without loss."""
    try:
        text = piece.decode("utf-8")
    except UnicodeDecodeError:
        return {"data": base64.b64encode(piece).decode("ascii")}
    if "\x00" in text:  # PostgreSQL takes no NUL in text or jsonb
        return {"data": base64.b64encode(piece).decode("ascii")}
    return {"text": text}
