"""Pins a spec's repos to commits, so that a job trains on what its owner saw; names its output."""

from dataclasses import dataclass, field
from typing import Any, Literal

from engine.specs import ScriptSpec, ServeSpec, TrainSpec, split_ref, split_source
from studio.accounts.models import User
from studio.core.errors import BadInput, StudioError
from studio.hub.errors import RepoGated
from studio.hub.models import Commit, Repo, Role
from studio.hub.selectors import resolve_revision

Kind = Literal["model", "dataset"]
_MOST_REPO_NAME = 96
_REFS: dict[str, Kind] = {"model": "model", "dataset": "dataset"}


@dataclass
class Pinned:
    """The refs by field name: as a ref with a commit's sha, as the commit, or why it cannot be."""

    resolved: dict[str, Any] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    errors: list[StudioError] = field(default_factory=list)


def pin_refs(viewer: User, spec: TrainSpec | ServeSpec | ScriptSpec) -> Pinned:
    """Look up each repo that the spec names, as the viewer may see it."""
    if isinstance(spec, ScriptSpec):
        return _pin_sources(viewer, spec)
    pinned = Pinned()
    for name, kind in _REFS.items():
        ref = getattr(spec, name, None)
        if ref is None:
            continue
        try:
            commit = _resolve(viewer, ref, name, kind)
        except StudioError as error:
            pinned.errors.append(error)
            continue
        pinned.commits[name] = commit
        pinned.resolved[name] = f"{split_ref(ref)[0]}@{commit.sha}"
    return pinned


def _pin_sources(viewer: User, spec: ScriptSpec) -> Pinned:
    pinned = Pinned()
    named = {("code", ""): spec.code} if spec.code else {}
    named |= {("inputs", place): source for place, source in spec.inputs.items()}
    for (field_name, place), source in named.items():
        kind, ref = split_source(source)
        try:
            commit = _resolve(viewer, ref, f"{field_name}.{place}" if place else field_name, kind)
        except StudioError as error:
            pinned.errors.append(error)
            continue
        prefix = "datasets/" if kind == "dataset" else ""
        sure = f"{prefix}{split_ref(ref)[0]}@{commit.sha}"
        if place:
            pinned.resolved.setdefault("inputs", {})[place] = sure
        else:
            pinned.resolved["code"] = sure
    return pinned


def get_short_name(ref: str) -> str:
    """Return a repo's name without its namespace and revision."""
    return split_ref(ref)[0].rpartition("/")[2]


def name_output(owner: User, spec: TrainSpec | ServeSpec | ScriptSpec) -> str:
    """Return the repo that receives what the spec makes; blank where it makes none."""
    if isinstance(spec, ScriptSpec):
        return f"{owner.username}/{spec.output}" if spec.output else ""
    if not isinstance(spec, TrainSpec):
        return ""
    name = spec.output or f"{get_short_name(spec.model)}-{get_short_name(spec.dataset)}"
    return f"{owner.username}/{name[:_MOST_REPO_NAME]}"


def is_taken_by_a_base(repo_id: str) -> bool:
    """Say whether the repo holds a base model, over which no adapter may be written."""
    namespace, _, name = repo_id.partition("/")
    named = Repo.objects.filter(kind="model", namespace__iexact=namespace, name__iexact=name)
    return named.filter(role=Role.BASE, head__isnull=False).exists()


def _resolve(viewer: User, ref: str, name: str, kind: Kind) -> Commit:
    where = f"spec.{name}"
    if ref.startswith((".", "/")):
        message = (
            f"{where}: {ref} is a path, and a node has no files of yours; name a repo of the hub."
        )
        raise BadInput(message, field=where, code="path_not_offered", ref=ref)
    try:
        return resolve_revision(viewer, ref, kind=kind)
    except RepoGated as error:
        message = f"{where}: {error.message}"
        raise BadInput(message, field=where, code="repo_gated", ref=ref) from error
    except StudioError as error:
        message = f"{where}: there is no {kind} {ref} that you may see; pick one from the list."
        raise BadInput(message, field=where, code=f"{kind}_not_found", ref=ref) from error
