"""What changes the catalogue: a repo is noted anew when it changes, and people like it."""

from django.core.cache import cache
from django.db import transaction
from django.db.models import F
from redis.exceptions import RedisError

from studio.accounts.models import User
from studio.core.errors import NotFound
from studio.hub.access import may_see
from studio.hub.cards import CARD, read_card
from studio.hub.catalogue.facts import read_facts
from studio.hub.catalogue.models import CatalogueEntry, Like, RepoLabel
from studio.hub.catalogue.words import cut_for_keeping
from studio.hub.model_facts import count_commit_params, read_text
from studio.hub.models import CommitFile, Kind, Repo

_ONE_FETCH_S = 600


def count_download(user: User, repo: Repo) -> None:
    """Count that somebody fetches a repo, once in ten minutes: one fetch is many requests."""
    try:
        is_new = cache.add(f"download:{repo.pk}:{user.pk}", 1, _ONE_FETCH_S)
    except RedisError:
        return  # a figure is no reason to refuse a file
    if is_new:
        Repo.objects.filter(pk=repo.pk).update(downloads=F("downloads") + 1)


def index_repo(repo: Repo) -> None:
    """Note a repo's words and facts, in the transaction that changes it.

    Parameters are counted when that is done: their number lies in headers of large files.
    """
    files = repo.head.files.all() if repo.head else CommitFile.objects.none()
    told = files.filter(path=CARD).select_related("blob", "blob__xet").first()
    card = read_card((read_text(told.blob) or "") if told else "")
    facts = read_facts(repo.kind, card.metadata, files.values_list("path", flat=True))
    labels = [
        RepoLabel(repo=repo, kind=kind, value=value)
        for kind, values in facts.labels.items()
        for value in values
    ]
    words = cut_for_keeping(
        f"{repo.namespace} {repo.name}",
        repo.summary,
        " ".join([facts.task, facts.library, *(label.value for label in labels)]),
        card.text,
    )
    noted = {
        "words": words,
        "task": facts.task,
        "library": facts.library,
        "base_relation": facts.base_relation,
        "num_params": None,
    }
    CatalogueEntry.objects.update_or_create(repo=repo, defaults=noted)
    RepoLabel.objects.filter(repo=repo).delete()
    RepoLabel.objects.bulk_create(labels)
    if repo.kind == Kind.MODEL and repo.head is not None:
        transaction.on_commit(lambda: note_params(repo))


def note_params(repo: Repo) -> None:
    """Count a model's parameters and note them; a repo that has moved on is left alone."""
    if repo.head is None:
        return
    found = count_commit_params(repo.head)
    entries = CatalogueEntry.objects.filter(repo_id=repo.pk, repo__head_id=repo.head.pk)
    entries.update(num_params=found)


@transaction.atomic
def like_repo(*, by: User, repo: Repo, is_liked: bool) -> None:
    """Like a repo, or no longer; once a person, however often it is said.

    Raises:
        NotFound: the person may not know of the repo.
    """
    if not may_see(by, repo):
        raise NotFound
    if is_liked:
        _, changed = Like.objects.get_or_create(repo=repo, user=by)
    else:
        changed = bool(Like.objects.filter(repo=repo, user=by).delete()[0])
    if changed:
        step = 1 if is_liked else -1
        CatalogueEntry.objects.filter(repo=repo).update(num_likes=F("num_likes") + step)
