"""Lists of repos as the Hub's clients narrow and sort them, by the catalogue's facts."""

import re
from collections.abc import Callable

from django.db.models import Q, QuerySet
from django.http import QueryDict

from studio.hub.access import Viewer
from studio.hub.catalogue.models import LabelKind, RepoLabel
from studio.hub.models import Repo
from studio.hub.selectors import RepoFilter, list_repos

_ORDERS = {
    "lastModified": "updated_at",
    "last_modified": "updated_at",
    "createdAt": "created_at",
    "created_at": "created_at",
    "downloads": "downloads",
    "likes": "entry__num_likes",
    "num_parameters": "entry__num_params",
    "trendingScore": "downloads",
    "trending_score": "downloads",
}
_ROWS = {"n": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_SIZE = re.compile(r"\A(?:(\d+)([KMBT])<)?n(?:<(\d+)([KMBT])|>(\d+)([KMBT]))?\Z")
_NUMBER = re.compile(r"\A(min|max):(\d{1,6}(?:\.\d{1,6})?)([KMBT]?)\Z")


def find_repos(viewer: Viewer, kind: str, asked: QueryDict) -> QuerySet[Repo]:
    """Return the repos that a client's query asks for; what it asks that is unknown finds none."""
    repos = list_repos(viewer, RepoFilter(kind=kind, search=_clean(asked.get("search", ""))))
    if author := _clean(asked.get("author", "")):
        repos = repos.filter(namespace__iexact=author)
    tags = [tag for each in asked.getlist("filter") for tag in each.split(",") if tag]
    for tag in [*tags, *(f"pipeline_tag:{task}" for task in asked.getlist("pipeline_tag"))]:
        repos = repos.filter(read_tag(tag))
    for bound in asked.get("num_parameters", "").split(","):
        if found := _NUMBER.match(bound):
            number = int(float(found[2]) * _ROWS[found[3] or "n"])
            lookup = "gte" if found[1] == "min" else "lte"
            repos = repos.filter(**{f"entry__num_params__{lookup}": number})
    if gated := asked.get("gated"):
        repos = repos.exclude(gate="") if gated.lower() == "true" else repos.filter(gate="")
    field = _ORDERS.get(asked.get("sort", ""), "updated_at")
    sign = "" if asked.get("direction") == "1" else "-"
    listed = repos.select_related("entry", "head").prefetch_related("labels")
    return listed.order_by(f"{sign}{field}", "pk")


def read_tag(tag: str) -> Q:
    """Return what the Hub means by a tag: `license:mit`, `language:zh`, or any fact by itself."""
    tag = _clean(tag)
    name, colon, value = tag.partition(":")
    if colon and name in _PREFIXES:
        return _PREFIXES[name](value)
    return _labelled(tag) | _of_task(tag) | Q(entry__library=tag) | Q(license__iexact=tag)


def _clean(text: str) -> str:
    """Leave out what no text of ours holds, and PostgreSQL takes in none."""
    return text.replace("\0", "")


def _labelled(value: str, *kinds: str) -> Q:
    labels = RepoLabel.objects.filter(value__iexact=value)
    if kinds:
        labels = labels.filter(kind__in=kinds)
    return Q(pk__in=labels.values("repo_id"))


def _of_task(task: str) -> Q:
    return Q(entry__task=task) | _labelled(task, LabelKind.TAG)


def _of_base(base: str) -> Q:
    """Read `owner/name`, or `adapter:owner/name` with how it came from it."""
    relation, colon, name = base.partition(":")
    if not colon:
        return Q(base_model__iexact=base)
    return Q(base_model__iexact=name, entry__base_relation=relation)


def _of_size(size: str) -> Q:
    """Read `n<1K`, `10K<n<100K` or `n>1T`: rows."""
    found = _SIZE.match(size)
    if found is None:
        return Q(pk__in=[])
    met = Q(num_rows__isnull=False)
    for number, unit, lookup in ((1, 2, "gte"), (3, 4, "lt"), (5, 6, "gt")):
        if found[number] and len(found[number]) <= 4:
            met &= Q(**{f"num_rows__{lookup}": int(found[number]) * _ROWS[found[unit]]})
    return met


_PREFIXES: dict[str, Callable[[str], Q]] = {
    "license": lambda value: Q(license__iexact=value),
    "language": lambda value: _labelled(value, LabelKind.LANGUAGE),
    "format": lambda value: _labelled(value, LabelKind.FORMAT),
    "modality": lambda value: _labelled(value, LabelKind.MODALITY),
    "library": lambda value: Q(entry__library=value),
    "task_categories": _of_task,
    "task_ids": _of_task,
    "pipeline_tag": _of_task,
    "base_model": _of_base,
    "size_categories": _of_size,
}


def list_tags(repo: Repo) -> list[str]:
    """Return a repo's tags with those that the Hub's clients read its facts from."""
    entry = getattr(repo, "entry", None)  # none before the catalogue has noted it
    facts = [f"license:{repo.license}"] if repo.license else []
    facts += [f"base_model:{repo.base_model}"] if repo.base_model else []
    if entry is not None:
        facts += [word for word in (entry.library, entry.task) if word]
    for label in sorted(repo.labels.all(), key=lambda label: label.pk):
        if label.kind != LabelKind.TAG:
            facts.append(f"{label.kind}:{label.value}")
    return list(dict.fromkeys([*repo.tags, *facts]))
