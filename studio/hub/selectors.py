"""What may be seen of the hub. A stranger's private repo is not there."""

from dataclasses import dataclass, field
from typing import Any, Literal

from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Concat

from engine.specs import split_ref
from engine.specs.estimate import DataFacts, ModelShape
from engine.specs.quality import QualityReport
from engine.specs.report import DatasetReport
from studio.hub.access import Reader, Viewer, check_may_read, may_see, may_write, visible_to
from studio.hub.cards import CARD, PROVENANCE, Card, Description, describe, read_card, read_json
from studio.hub.errors import FileNotThere, RepoNotThere, RevisionNotThere
from studio.hub.model_facts import (
    find_shape,
    find_weights,
    predict_memory_bytes,
    read_shape,
    read_text,
)
from studio.hub.models import Blob, CatalogueEntry, Commit, CommitFile, Kind, Ref, Repo, Role
from studio.hub.names import is_commit_prefix
from studio.hub.quantized import find_quality, is_quantized
from studio.hub.refs import MAIN, find_ref, list_refs
from studio.hub.trainable import Choice, find_report, report_dataset
from studio.hub.weights import Weights

_MOST_REVISIONS = 200
SCORING_TASK = "text-classification"
"""What the engine's card says of a reward model."""
_PATHS_AT_ONCE = 1000


@dataclass(frozen=True)
class RepoFilter:
    """What a list is narrowed to; empty fields do not narrow."""

    kind: str = ""
    role: str = ""
    search: str = ""
    owner: str = ""


@dataclass(frozen=True)
class RepoDetail:
    """All that a repo's page shows, at one commit; `commit` is None for an empty repo."""

    repo: Repo
    commit: Commit | None
    files: list[CommitFile] = field(default_factory=list)
    card: Card = field(default_factory=lambda: Card({}, ""))
    provenance: dict[str, Any] | None = None
    shape: ModelShape | None = None
    weights: Weights | None = None
    report: DatasetReport | None = None
    quality: QualityReport | None = None
    """Of a quantized model: its report card."""
    is_quantized: bool = False
    adapters: list[str] = field(default_factory=list)
    revisions: list[Commit] = field(default_factory=list)
    refs: list[Ref] = field(default_factory=list)
    """The branches and tags beside `main`."""
    told: Description | None = None
    """What the files of a commit that is not the head say; None where the repo's row says it."""


def list_repos(viewer: Viewer, wanted: RepoFilter | None = None) -> QuerySet[Repo]:
    """Return the repos a viewer may see, last changed first."""
    wanted = wanted or RepoFilter()
    repos = Repo.objects.filter(visible_to(viewer)).select_related("head", "owner")
    if wanted.kind:
        repos = repos.filter(kind=wanted.kind)
    if wanted.role:
        repos = repos.filter(role=wanted.role)
    if wanted.owner:
        repos = repos.filter(owner__username__iexact=wanted.owner)
    for word in wanted.search.split():
        repos = repos.annotate(full_name=Concat("namespace", Value("/"), "name")).filter(
            Q(full_name__icontains=word)
            | Q(summary__icontains=word)
            | Q(card_summary__icontains=word)
        )
    return repos.order_by(F("updated_at").desc(), "pk")


def get_repo(viewer: Viewer, kind: str, namespace: str, name: str) -> Repo:
    """Return a repo by name, whatever its capitals.

    Raises:
        RepoNotThere: there is none that the viewer may see.
    """
    visible = Repo.objects.filter(visible_to(viewer)).select_related(
        "head", "owner", "organization"
    )
    named = visible.filter(kind=kind, namespace__iexact=namespace, name__iexact=name).first()
    if named is not None:
        return named
    moved = visible.filter(
        old_names__kind=kind, old_names__namespace__iexact=namespace, old_names__name__iexact=name
    )
    repo = moved.first()
    if repo is None:
        raise RepoNotThere
    return repo


def get_commit(repo: Repo, revision: str = MAIN) -> Commit:
    """Return a repo's commit: `main`, a whole sha, or the first 7 digits or more of one.

    Raises:
        RevisionNotThere: it has no such commit, or more than one begins so.
    """
    if revision.removeprefix("refs/heads/") in {MAIN, "HEAD"}:
        if repo.head is None:
            raise RevisionNotThere(f"{repo.repo_id} is empty: push something first.")
        repo.head.repo = repo  # async callers read it without another query
        return repo.head
    if ref := find_ref(repo, revision):
        ref.commit.repo = repo
        return ref.commit
    if is_commit_prefix(revision):
        found = list(repo.commits.filter(sha__startswith=revision)[:2])
        if len(found) == 1:
            found[0].repo = repo
            return found[0]
    raise RevisionNotThere(f"{repo.repo_id} has no revision {revision[:100]!r}; take main.")


def get_file(commit: Commit, path: str) -> CommitFile:
    """Return a file of a commit.

    Raises:
        FileNotThere: the commit has none of that path.
    """
    file = commit.files.filter(path=path).select_related("blob").first()
    if file is None:
        raise FileNotThere(f"There is no file {path[:200]!r} in {commit.repo.repo_id}.")
    return file


def list_files(commit: Commit | None) -> list[CommitFile]:
    """Return a commit's files in the order of their paths; of no commit, none."""
    if commit is None:
        return []
    return sorted(commit.files.select_related("blob"), key=lambda file: file.path)


def find_etags(commit: Commit | None, paths: list[str]) -> dict[str, str]:
    """Return what clients compare of those paths that a commit has."""
    if commit is None:
        return {}
    etags: dict[str, str] = {}
    for at in range(0, len(paths), _PATHS_AT_ONCE):  # a statement takes so many values at most
        asked = paths[at : at + _PATHS_AT_ONCE]
        found = commit.files.filter(path__in=asked).select_related("blob")
        etags.update((file.path, file.blob.etag) for file in found)
    return etags


def list_commits(repo: Repo) -> QuerySet[Commit]:
    """Return a repo's commits of all branches, newest first."""
    return repo.commits.select_related("author").order_by("-pk")


def list_history(commit: Commit) -> list[int]:
    """Return the ids of a commit and those it came from, newest first."""
    parents = dict(commit.repo.commits.values_list("pk", "parent_id"))
    found: list[int] = []
    at: int | None = commit.pk
    while at is not None and at in parents:
        found.append(at)
        at = parents.pop(at)
    return found


def find_last_commits(commit: Commit, paths: list[str]) -> dict[str, Commit]:
    """Return the commit that gave each path its present bytes, up to 200 commits back."""
    history = list_history(commit)[:_MOST_REVISIONS]
    rows = CommitFile.objects.filter(commit_id__in=history, path__in=paths)
    blobs: dict[str, dict[int, str]] = {path: {} for path in paths}
    for path, commit_id, blob_id in rows.values_list("path", "commit_id", "blob_id"):
        blobs[path][commit_id] = blob_id
    last = {}
    for path, known in blobs.items():
        for commit_id in history:
            if known.get(commit_id) != known.get(history[0]):
                break
            last[path] = commit_id
    commits = Commit.objects.select_related("author").in_bulk(set(last.values()))
    return {path: commits[commit_id] for path, commit_id in last.items()}


def resolve_revision(viewer: Viewer, ref: str, *, kind: Literal["model", "dataset"]) -> Commit:
    """Return the commit that `namespace/name[@revision]` names.

    Raises:
        NotFound: there is no such repo or revision that the viewer may see.
        RepoGated: they have to ask for its files first.
    """
    repo_id, revision = split_ref(ref)
    namespace, _, name = repo_id.partition("/")
    repo = get_repo(viewer, kind, namespace, name)
    check_may_read(viewer, repo)
    return get_commit(repo, revision)


def get_model_shape(commit: Commit) -> ModelShape:
    """Return the sizes of a base model.

    Raises:
        BadInput: it is an adapter, or no decoder that we know.
    """
    return read_shape(commit)


def get_dataset_report(commit: Commit, choice: Choice | None = None) -> DatasetReport:
    """Return what a check of what a training would read found; made once per content.

    Raises:
        BadInput: there is nothing to read, or it cannot be read.
    """
    return report_dataset(commit, choice)


def to_data_facts(report: DatasetReport) -> DataFacts:
    """Return the size of a dataset by its good rows; of a large one it is inferred."""
    return DataFacts(
        num_samples=report.scale(report.num_good),
        num_tokens=report.scale(report.num_tokens_estimate),
        num_supervised_tokens=report.scale(report.num_supervised_tokens_estimate),
        longest_tokens=report.longest_tokens_estimate,
    )


def get_data_facts(commit: Commit) -> DataFacts:
    """Return the size of a dataset.

    Raises:
        BadInput: there is nothing to read, or it cannot be read.
    """
    return to_data_facts(report_dataset(commit))


def is_reward_model(repo: Repo) -> bool:
    """Say whether a model scores answers and gives none, by its card's task."""
    entry = CatalogueEntry.objects.filter(repo=repo).first()
    return entry is not None and entry.task == SCORING_TASK


def is_quantized_commit(commit: Commit) -> bool:
    """Say whether a commit's weights are held in fewer bits already."""
    return is_quantized({file.path: file.blob for file in list_files(commit)})


def has_datasets(user: Any) -> bool:
    """Say whether the person has a dataset of their own."""
    return Repo.objects.filter(owner=user, kind=Kind.DATASET).exists()


def has_adapters(user: Any) -> bool:
    """Say whether the person has an adapter."""
    return Repo.objects.filter(owner=user, role=Role.ADAPTER).exists()


def describe_repo(viewer: Viewer, repo: Repo, revision: str = MAIN) -> RepoDetail:
    """Return all that a repo's page shows. An empty repo has a page too.

    Raises:
        RevisionNotThere: it has no such commit.
    """
    if repo.head is None and revision == MAIN:
        return RepoDetail(repo, None)
    commit = get_commit(repo, revision)
    files = list_files(commit)
    blobs = {file.path: file.blob for file in files}
    told = None if commit.pk == repo.head_id else _describe(repo, blobs)
    is_base = (told or repo).role == Role.BASE
    return RepoDetail(
        repo=repo,
        commit=commit,
        files=files,
        card=read_card(_read(blobs.get(CARD)) or ""),
        provenance=read_json(_read(blobs.get(PROVENANCE))) or None,
        shape=find_shape(commit) if is_base else None,
        weights=find_weights(commit) if repo.kind == Kind.MODEL else None,
        report=find_report(commit) if repo.kind == Kind.DATASET else None,
        quality=find_quality(blobs) if is_base else None,
        is_quantized=is_base and is_quantized(blobs),
        adapters=_list_adapters(viewer, repo) if is_base else [],
        revisions=list(list_commits(repo)[:_MOST_REVISIONS]),
        refs=list_refs(repo),
        told=told,
    )


def is_owner(viewer: Viewer, repo: Repo) -> bool:
    """Say whether the repo is the viewer's own; an organization's is nobody's."""
    user = viewer.user if isinstance(viewer, Reader) else viewer
    return repo.organization_id is None and repo.owner_id == user.pk


__all__ = [
    "SCORING_TASK",
    "RepoDetail",
    "Choice",
    "RepoFilter",
    "describe_repo",
    "find_etags",
    "get_commit",
    "get_data_facts",
    "get_dataset_report",
    "get_file",
    "get_model_shape",
    "get_repo",
    "has_adapters",
    "has_datasets",
    "is_owner",
    "is_quantized_commit",
    "is_reward_model",
    "list_commits",
    "list_files",
    "list_repos",
    "may_see",
    "may_write",
    "predict_memory_bytes",
    "resolve_revision",
    "to_data_facts",
]


def _read(blob: Blob | None) -> str | None:
    return read_text(blob) if blob else None


def _describe(repo: Repo, blobs: dict[str, Blob]) -> Description:
    return describe(repo.kind, set(blobs), lambda path: read_text(blobs[path]))


def _list_adapters(viewer: Viewer, repo: Repo) -> list[str]:
    """Return the adapters of a base that the viewer may see, newest first."""
    adapters = list_repos(viewer, RepoFilter(kind=Kind.MODEL, role=Role.ADAPTER))
    return [adapter.repo_id for adapter in adapters.filter(base_model__iexact=repo.repo_id)[:200]]
