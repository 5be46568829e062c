"""Lists in pages, as clients follow them by a Link header; and who changed what last."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from rest_framework.request import Request

from studio.hub.models import Commit, Repo
from studio.hub.selectors import find_last_commits

Json = dict[str, Any]


class CountedRepos(Sequence[Repo]):
    """Repos of a query as a list, of which the database gives the pages."""

    def __init__(self, repos: QuerySet[Repo]) -> None:
        """Ask nothing yet."""
        self._repos = repos

    def __len__(self) -> int:
        return self._repos.count()

    def __getitem__(self, wanted: Any) -> Any:
        return list(self._repos[wanted])


def cut_page(
    request: Request, items: Sequence[Any], size: int
) -> tuple[Sequence[Any], dict[str, str]]:
    """Return a page of a list, and the header that leads to the next."""
    size = min(_read_number(request, "limit") or size, size)
    begin = _read_number(request, "cursor")
    page = items[begin : begin + size]
    if begin + size >= len(items):
        return page, {}
    query = [(key, each) for key, values in request.query_params.lists() for each in values]
    query = [(key, value) for key, value in query if key != "cursor"]
    address = f"{request.path}?{urlencode([*query, ('cursor', str(begin + size))])}"
    return page, {"Link": f'<{request.build_absolute_uri(address)}>; rel="next"'}


def _read_number(request: Request, name: str) -> int:
    """Return a number of the query; 0 where it is none, or none that a list could reach."""
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def add_last_commits(commit: Commit, entries: Sequence[Json]) -> list[Json]:
    """Return a tree's entries with the commit that changed each last, as `expand` asks."""
    last = find_last_commits(commit, [entry["path"] for entry in entries])
    return [entry | _show_last(last.get(entry["path"], commit)) for entry in entries]


def _show_last(commit: Commit) -> Json:
    date = commit.created_at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {
        "lastCommit": {"id": commit.sha, "title": commit.message, "date": date},
        "securityFileStatus": None,
    }
