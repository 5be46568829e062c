"""The search over the catalogue: each condition is a field of `RepoSearch`; all must hold."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from studio.hub.access import Reader, Viewer, visible_to
from studio.hub.catalogue.models import CatalogueEntry, LabelKind, Like, RepoLabel
from studio.hub.catalogue.words import cut_for_seeking, holds_words
from studio.hub.models import Repo

SORTS = {
    "updated": F("updated_at").desc(),
    "created": F("created_at").desc(),
    "downloads": F("downloads").desc(),
    "likes": F("entry__num_likes").desc(nulls_last=True),
    "params": F("entry__num_params").desc(nulls_last=True),
    "size": F("size_bytes").desc(),
    "rows": F("num_rows").desc(nulls_last=True),
    "name": F("name").asc(),
}
_MOST_VALUES = 30


@dataclass(frozen=True)
class RepoSearch:
    """What is sought; an empty field narrows nothing, of several values one is enough."""

    kind: str = ""
    role: str = ""
    search: str = ""
    owner: str = ""
    organization: str = ""
    """The namespace, which for a course is the course's own."""
    visibility: str = ""
    task: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    modality: tuple[str, ...] = ()
    format: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    """Of tags all are needed."""
    license: tuple[str, ...] = ()
    library: tuple[str, ...] = ()
    base_model: str = ""
    base_relation: str = ""
    min_size: int | None = None
    max_size: int | None = None
    min_rows: int | None = None
    max_rows: int | None = None
    min_params: int | None = None
    max_params: int | None = None
    updated_since: datetime | None = None
    gated: bool | None = None
    liked: bool = False
    sort: str = "updated"


_PLAIN = {
    "kind": "kind",
    "role": "role",
    "visibility": "visibility",
    "owner": "owner__username__iexact",
    "organization": "namespace__iexact",
    "base_model": "base_model__iexact",
    "base_relation": "entry__base_relation",
    "min_size": "size_bytes__gte",
    "max_size": "size_bytes__lte",
    "min_rows": "num_rows__gte",
    "max_rows": "num_rows__lte",
    "min_params": "entry__num_params__gte",
    "max_params": "entry__num_params__lte",
    "updated_since": "updated_at__gte",
    "task": "entry__task__in",
    "library": "entry__library__in",
    "license": "license__in",
}
_LABELS = (LabelKind.LANGUAGE, LabelKind.MODALITY, LabelKind.FORMAT)


def search_repos(viewer: Viewer, wanted: RepoSearch) -> QuerySet[Repo]:
    """Return the repos a viewer may see that meet every condition, in the order asked for."""
    user = viewer.user if isinstance(viewer, Reader) else viewer
    liked = Like.objects.filter(repo=OuterRef("pk"), user_id=user.pk)
    repos = Repo.objects.filter(_match(viewer, wanted)).annotate(is_liked=Exists(liked))
    if wanted.liked:
        repos = repos.filter(is_liked=True)
    repos = repos.select_related("head", "owner", "entry").prefetch_related("labels")
    return repos.order_by(SORTS[wanted.sort], "pk")


def count_facets(viewer: Viewer, wanted: RepoSearch) -> dict[str, list[tuple[str, int]]]:
    """Return for each list of choices how many repos each choice would leave, most first.

    A list's own choice is left out of its counting: one may want to choose otherwise.
    """
    facets = {}
    for name, field in (
        ("license", "license"),
        ("task", "entry__task"),
        ("library", "entry__library"),
        ("organization", "namespace"),
    ):
        repos = Repo.objects.filter(_match(viewer, _without(wanted, name))).exclude(**{field: ""})
        counted = repos.exclude(**{f"{field}__isnull": True}).values_list(field)
        facets[name] = _most(counted.annotate(num=Count("pk")))
    for kind in LabelKind.values:
        repos = Repo.objects.filter(_match(viewer, _without(wanted, kind)))
        labels = RepoLabel.objects.filter(kind=kind, repo__in=repos.values("pk"))
        facets[kind] = _most(labels.values_list("value").annotate(num=Count("pk")))
    return facets


def _match(viewer: Viewer, wanted: RepoSearch) -> Q:
    met = visible_to(viewer)
    for name, lookup in _PLAIN.items():
        value = getattr(wanted, name)
        if value not in ("", (), None):
            met &= Q(**{lookup: value})
    if wanted.gated is not None:
        met &= ~Q(gate="") if wanted.gated else Q(gate="")
    for kind in _LABELS:
        if values := getattr(wanted, kind):
            met &= _has_label(kind, values)
    for tag in wanted.tag:
        met &= _has_label(LabelKind.TAG, (tag,))
    if sought := cut_for_seeking(wanted.search):
        found = CatalogueEntry.objects.filter(holds_words("words", sought))
        met &= Q(pk__in=found.values("repo_id"))
    return met


def _has_label(kind: str, values: tuple[str, ...]) -> Q:
    labels = RepoLabel.objects.filter(kind=kind, value__in=values)
    return Q(pk__in=labels.values("repo_id"))


def _without(wanted: RepoSearch, name: str) -> RepoSearch:
    """A list whose values are all needed, as tags are, goes on narrowing itself."""
    if name == LabelKind.TAG:
        return wanted
    nothing: dict[str, Any] = {name: "" if name == "organization" else ()}
    return replace(wanted, **nothing)


def _most(counted: QuerySet[Any, Any]) -> list[tuple[str, int]]:
    return list(counted.order_by("-num", counted.query.values_select[0])[:_MOST_VALUES])
