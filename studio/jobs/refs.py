"""Pins a spec's repos to commits, so that a job trains on what its owner saw; names its output."""

from dataclasses import dataclass, field
from typing import Any, Literal

from engine.specs import (
    AnySpec,
    InspectSpec,
    QuantizeSpec,
    ScriptSpec,
    TrainSpec,
    split_ref,
    split_source,
)
from studio.accounts.models import User
from studio.core.errors import BadInput, StudioError
from studio.hub.cards import PROVENANCE
from studio.hub.errors import RepoGated
from studio.hub.models import Commit, Repo, Role
from studio.hub.selectors import resolve_revision

Kind = Literal["model", "dataset"]
_MOST_REPO_NAME = 96
_TOKENIZER = "from_scratch.tokenizer_from"
_REFS: dict[str, Kind] = {"model": "model", "dataset": "dataset"}


@dataclass
class Pinned:
    """The refs by field name, such as `mixture.0.repo`: as the commit, or why it cannot be.

    `resolved` are the fields of the spec that name them, with each ref as one of a commit's sha.
    """

    resolved: dict[str, Any] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    errors: list[StudioError] = field(default_factory=list)


def pin_refs(viewer: User, spec: AnySpec) -> Pinned:
    """Look up each repo that the spec names, as the viewer may see it."""
    if isinstance(spec, ScriptSpec):
        return _pin_sources(viewer, spec)
    pinned = Pinned()
    for name, kind in _REFS.items():
        ref = getattr(spec, name, None)
        if ref and (sure := _pin(pinned, viewer, _Named(name, ref, kind))):
            pinned.resolved[name] = sure
    if isinstance(spec, TrainSpec) and spec.from_scratch and spec.from_scratch.tokenizer_from:
        named = _Named(_TOKENIZER, spec.from_scratch.tokenizer_from, "model")
        sure = _pin(pinned, viewer, named)
        pinned.resolved["from_scratch"] = {
            **spec.from_scratch.model_dump(mode="json"),
            "tokenizer_from": sure or named.ref,
        }
    if isinstance(spec, TrainSpec | InspectSpec) and spec.mixture:
        sources = (
            (source, _Named(f"mixture.{index}.repo", source.repo, "dataset"))
            for index, source in enumerate(spec.mixture)
        )
        pinned.resolved["mixture"] = [
            {**source.model_dump(mode="json"), "repo": _pin(pinned, viewer, one) or source.repo}
            for source, one in sources
        ]
    return pinned


@dataclass(frozen=True)
class _Named:
    """A repo that a field of a spec names."""

    field: str
    ref: str
    kind: Kind


def _pin(pinned: Pinned, viewer: User, named: _Named) -> str:
    """Note a repo's commit and return its ref; note why there is none, and return nothing."""
    try:
        commit = _resolve(viewer, named.ref, named.field, named.kind)
    except StudioError as error:
        pinned.errors.append(error)
        return ""
    pinned.commits[named.field] = commit
    return f"{split_ref(named.ref)[0]}@{commit.sha}"


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


def name_output(owner: User, spec: AnySpec) -> str:
    """Return the repo that receives what the spec makes; blank where it makes none.

    A name that nobody chose tells stage and method apart: an adapter's repo must not receive a
    whole model.
    """
    if isinstance(spec, ScriptSpec):
        return f"{owner.username}/{spec.output}" if spec.output else ""
    if not isinstance(spec, TrainSpec | QuantizeSpec):
        return ""
    if spec.output:
        return f"{owner.username}/{spec.output}"
    if isinstance(spec, QuantizeSpec):
        ending = f"-{spec.method}"
        name = get_short_name(spec.model)[: _MOST_REPO_NAME - len(ending)]
        return f"{owner.username}/{name}{ending}"
    ending = "" if spec.stage == "sft" else f"-{spec.stage}"
    ending += "-full" if spec.method == "full" else ""
    name = f"{name_start(spec)}-{get_short_name(spec.dataset)}"
    return f"{owner.username}/{name[: _MOST_REPO_NAME - len(ending)]}{ending}"


def name_start(spec: TrainSpec) -> str:
    """Return what a training starts from, in a word: its base, or the kind of a new model."""
    if spec.from_scratch is not None:
        return f"new-{spec.from_scratch.architecture}"
    return get_short_name(spec.model)


def find_taken(repo_id: str, *, is_adapter: bool) -> Literal["", "base", "adapter"]:
    """Say what a repo holds over which a result may not be written; empty where it may.

    An adapter never goes over a model. A model goes over one that was made here, and over nothing
    else: its files would lie among an adapter's.
    """
    namespace, _, name = repo_id.partition("/")
    named = Repo.objects.filter(kind="model", namespace__iexact=namespace, name__iexact=name)
    repo = named.filter(head__isnull=False).first()
    if repo is None or repo.head is None:
        return ""
    if repo.role == Role.ADAPTER:
        return "" if is_adapter else "adapter"
    if repo.role != Role.BASE:
        return ""
    is_ours = repo.head.files.filter(path=PROVENANCE).exists()
    return "" if is_ours and not is_adapter else "base"


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
