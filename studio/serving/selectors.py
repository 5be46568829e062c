"""What may be seen of deployments, and which model a request means."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from engine.specs import split_ref
from studio.accounts.models import User
from studio.core.errors import NotFound, StudioError
from studio.hub.cards import ADAPTER_CONFIG, describe
from studio.hub.model_facts import read_text
from studio.hub.models import Commit, Kind, Repo, Role
from studio.hub.selectors import (
    SCORING_TASK,
    RepoFilter,
    get_commit,
    get_model_shape,
    get_repo,
    is_reward_model,
    list_files,
    list_repos,
)
from studio.serving.models import OPEN, Deployment, DeploymentStatus

_MOST_MODELS = 1000
# Files that say something of a model and change nothing of what it answers.
_TOLD_ONLY = frozenset({"README.md", ".gitattributes", "LICENSE", "athanor.json"})


@dataclass(frozen=True)
class Wanted:
    """The model that a request names: a base, and an adapter on it or none."""

    base: Commit
    adapter: Commit | None = None
    follows_head: bool = False
    """The request names no revision of the base."""

    @property
    def adapter_ref(self) -> str | None:
        """Return the adapter as a server is told of it, pinned."""
        return f"{self.adapter.repo.repo_id}@{self.adapter.sha}" if self.adapter else None


class ModelNotServed(NotFound):
    """No such model, or none that can be chatted with."""

    code = "model_not_found"


def find_model(viewer: User, model: str) -> Wanted:
    """Return what a request's `model` means to the viewer.

    Raises:
        ModelNotServed: there is no such model that they may see, or its base is not in this hub.
    """
    base_name, plus, adapter_name = model.partition("+")
    if plus:
        return _find_pair(viewer, base_name, adapter_name)
    commit = _resolve(viewer, model, f"There is no model {model[:200]!r} that you may use.")
    if is_reward_model(commit.repo):
        raise ModelNotServed(f"{model[:200]} is a reward model: it scores answers and gives none.")
    files = {file.path: file.blob for file in list_files(commit)}
    if ADAPTER_CONFIG not in files:
        return Wanted(_find_same(commit), follows_head="@" not in model)
    told = describe(Kind.MODEL, set(files), lambda path: read_text(files[path]))
    if not told.base_model:
        raise ModelNotServed(f"{model[:200]} does not say which base model it is for.")
    ref = f"{told.base_model}@{told.base_revision or 'main'}"
    message = f"{model[:200]} is for {ref}, which is not in this hub or not yours to use."
    base = _find_same(_resolve(viewer, ref, message))
    return Wanted(base, adapter=commit, follows_head=not told.base_revision)


def get_context_tokens(viewer: User, model: str) -> int | None:
    """Return the window of what a request's `model` means; None where nobody can tell."""
    try:
        return get_model_shape(find_model(viewer, model).base).max_context
    except StudioError:
        return None


def list_models(viewer: User) -> list[Repo]:
    """Return the models that a viewer may chat with: bases first, each line newest first."""
    models = list_repos(viewer, RepoFilter(kind=Kind.MODEL)).filter(head__isnull=False)
    usable = models.exclude(Q(role=Role.ADAPTER) & Q(base_model=""))
    usable = usable.exclude(entry__task=SCORING_TASK)
    return sorted(usable[:_MOST_MODELS], key=lambda repo: repo.role == Role.ADAPTER)


def list_deployments(viewer: User) -> QuerySet[Deployment]:
    """Return the deployments a viewer may know of, newest first: operators see all, others those
    of the models that they may see."""
    shown = Deployment.objects.select_related("job__current_run__node", "job__flavor").order_by(
        "-created_at"
    )
    if viewer.has_role("operator"):
        return shown
    names = [repo.repo_id for repo in list_models(viewer)]
    return shown.filter(model__in=names)


def get_deployment(viewer: User, deployment_id: UUID) -> Deployment:
    """Return a deployment the viewer may know of.

    Raises:
        NotFound: there is none.
    """
    found = list_deployments(viewer).filter(pk=deployment_id).first()
    if found is None:
        raise NotFound
    return found


def list_going(model: str) -> list[UUID]:
    """Return the ids of a model's deployments that are up or coming up, and are to stay."""
    going = Deployment.objects.filter(model=model, status__in=OPEN, is_retiring=False)
    return list(going.order_by("created_at").values_list("pk", flat=True))


def map_statuses() -> dict[str, str]:
    """Return by base model whether its server is `ready` or `starting`; others are not there."""
    statuses: dict[str, str] = {}
    for deployment in Deployment.objects.filter(status__in=OPEN):
        is_ready = deployment.status == DeploymentStatus.READY
        if is_ready or deployment.model.lower() not in statuses:
            statuses[deployment.model.lower()] = deployment.status
    return statuses


def is_alike(one: Commit, other: Commit) -> bool:
    """Say whether two commits answer exactly alike, whatever their cards say."""
    return one.pk == other.pk or _fingerprint(one) == _fingerprint(other)


def _find_pair(viewer: User, base_name: str, adapter_name: str) -> Wanted:
    """Return an adapter on a base that is named: its own, or one that was made from that."""
    unknown = "There is no model {!r} that you may use."
    base = _resolve(viewer, base_name, unknown.format(base_name[:200]))
    adapter = _resolve(viewer, adapter_name, unknown.format(adapter_name[:200]))
    told = _describe(adapter)
    if told is None:
        raise ModelNotServed(f"{adapter_name[:200]} is no adapter: name it alone.", field="model")
    own = (told.base_model or "").lower()
    if own not in {base.repo.repo_id.lower(), (base.repo.base_model or "").lower()}:
        raise ModelNotServed(
            f"{adapter_name[:200]} is for {told.base_model or 'an unnamed base'}, not for "
            f"{base_name[:200]}.",
            field="model",
        )
    return Wanted(_find_same(base), adapter=adapter, follows_head="@" not in base_name)


def _describe(commit: Commit) -> Any:
    """Return what an adapter's files say of it; None of anything else."""
    files = {file.path: file.blob for file in list_files(commit)}
    if ADAPTER_CONFIG not in files:
        return None
    return describe(Kind.MODEL, set(files), lambda path: read_text(files[path]))


def _resolve(viewer: User, ref: str, message: str) -> Commit:
    repo_id, revision = split_ref(ref)
    namespace, _, name = repo_id.partition("/")
    try:
        commit = get_commit(get_repo(viewer, Kind.MODEL, namespace, name), revision)
    except NotFound as error:
        raise ModelNotServed(message, field="model", model=ref[:200]) from error
    return commit


def _find_same(commit: Commit) -> Commit:
    """Return the head where it answers exactly alike: an edited card needs no second server."""
    head = commit.repo.head
    if head is None or head.pk == commit.pk:
        return commit
    return head if is_alike(head, commit) else commit


def _fingerprint(commit: Commit) -> set[tuple[str, str]]:
    files = commit.files.values_list("path", "blob_id")
    return {(path, sha256) for path, sha256 in files if path not in _TOLD_ONLY}
