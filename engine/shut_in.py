"""The verb of an engine in a container: fetch what it reads, have it run, push what it made.

The same verb runs inside, shut in: with no network, no token and no more of the node's disk than it
was given. So this side, outside, needs none of the libraries that the work does.
"""

from pathlib import Path

from pydantic import TypeAdapter

from engine.carry import carry, keep_plain
from engine.emitter import ArtifactRole, Emitter
from engine.errors import EngineError, WorkEnded
from engine.hub import fetch_repo, push_folder
from engine.specs import CONTAINABLE, FetchedRepo, JobSpec, Placement, QuantizeSpec, TrainSpec
from engine.status import Reason
from engine.stopping import StopGate

FETCHED_NAME = "fetched.json"
_MADE = "out"
_FETCHED: TypeAdapter[dict[str, FetchedRepo]] = TypeAdapter(dict[str, FetchedRepo])


def run_shut_in(spec: JobSpec, placement: Placement, emitter: Emitter, gate: StopGate) -> None:
    """Do a spec's work in a container of the node's.

    Raises:
        EngineError: an input cannot be had, no container can be made, or what it made is lost.
        WorkEnded: the engine inside has ended other than well, and says why.
        StopRequested: when asked to stop; the container is gone, its last checkpoint kept.
    """
    assert isinstance(spec, CONTAINABLE)
    makes_model = isinstance(spec, TrainSpec | QuantizeSpec)
    fetched = {}
    for kind, ref in spec.list_sources():
        _check_ref(ref, kind)
        got = fetch_repo(ref, kind, placement, emitter, wants_weights=makes_model)
        fetched[f"{kind} {ref}"] = FetchedRepo(path=got.path, repo=got.repo, revision=got.revision)
    (placement.run_dir / FETCHED_NAME).write_bytes(_FETCHED.dump_json(fetched))
    outcome = carry(placement)
    if outcome.reason is not Reason.NONE:
        raise WorkEnded(outcome.reason, outcome.message, outcome.exit_code or 0)
    if not isinstance(spec, TrainSpec | QuantizeSpec):  # an inspection has said all it has to say
        return
    role: ArtifactRole = "adapter" if spec.method in ("lora", "qlora") else "model"
    _deliver(placement.run_dir / _MADE, role, placement, emitter)


def _check_ref(ref: str, kind: str) -> None:
    if ref.startswith((".", "/")):
        raise EngineError(
            Reason.BAD_SPEC,
            f"{kind}: {ref} is a path, and an engine in a container sees no files of its node: "
            "name a repo of the hub.",
        )


def _deliver(folder: Path, role: ArtifactRole, placement: Placement, emitter: Emitter) -> None:
    """Push what the container left; it wrote there alone, so a link in it is none of ours."""
    if keep_plain(folder):
        raise EngineError(
            Reason.INTERNAL_ERROR, "The engine left links in its output; nothing is pushed."
        )
    push_folder(folder, role, placement, emitter)
