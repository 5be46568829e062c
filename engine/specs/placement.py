"""Placement: where a run happens. It is made by the node (or the command line), never by a user."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class FetchedRepo(BaseModel):
    """A model or dataset that lies on this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    path: Path
    repo: str | None = None
    """`namespace/name` in the hub it is from."""
    revision: str | None = None
    """Its commit there."""


class Placement(BaseModel):
    """Devices, folders, addresses and tokens of one run; no part of the spec or its record."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    run_dir: Path
    """Folder of the run: spec.json, placement.json, events.jsonl, checkpoints/, out/."""
    devices: tuple[int, ...] = ()
    """Indexes of the GPUs it may use; empty is CPU."""
    num_threads: int = Field(default=0, ge=0)
    """CPU threads it may use; 0 leaves the choice to torch."""
    memory_bytes: int | None = None
    """Most memory it may take; None is no limit."""
    hub_url: str | None = None
    """Hugging Face Hub-compatible address that models and datasets come from."""
    hub_token: str | None = None
    """Token for that hub."""
    push_to: str | None = None
    """Repo id in that hub that receives the artifact; None keeps it in the run directory."""
    resume_from: Path | None = None
    """Checkpoint folder of an earlier run to go on from, exactly."""
    cache_dir: Path | None = None
    """The node's cache of models and datasets, shared by its runs."""
    host: str = "127.0.0.1"
    """Address a server binds to."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port a server binds to; 0 takes a free one."""
    grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """Port on which a server answers gRPC, too; 0 takes a free one, None answers none."""
    grace_s: float = Field(default=2.0, ge=0, le=3600)
    """How long a server that is asked to stop lets requests under way end."""
    server_token: str | None = None
    """Bearer token that a server asks of its callers."""
    remote_token: str | None = None
    """Bearer token for the address that a remote backend asks."""
    remote_urls: tuple[str, ...] | None = None
    """Addresses that a remote backend may ask; None is any, for whoever sits at the machine."""
    lmdeploy_dir: Path | None = None
    """Environment that `python -m engine lmdeploy install` made on this node."""
    carrier: tuple[str, ...] = ()
    """Command of the node that runs the work in a container; without it no script runs."""
    fetched: dict[str, FetchedRepo] = {}
    """What a run that is shut in reads, by kind and ref, such as `model athanor/tiny@main`."""
    provenance: dict[str, str] = {}
    """Names and digests that go into the artifact's card: job, run, node, owner."""
