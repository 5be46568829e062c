"""What may be done with labelling projects: begin, change, invite, decide, delete."""

from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from studio.accounts.models import User
from studio.core import audit
from studio.core.errors import BadInput, Conflict, Forbidden, NotFound
from studio.hub.access import check_may_read
from studio.hub.models import Kind
from studio.hub.names import split_repo_id
from studio.hub.reports import find_data_file
from studio.hub.selectors import get_commit, get_repo
from studio.labelling.models import ACTIVE, Item, Member, Project, TaskKind
from studio.labelling.sources import check_suits, count_rows, read_source_row
from studio.labelling.verdicts import check_said
from studio.labelling.work import lock_project, release_member

MOST_LABELS = 50
MOST_MEMBERS = 200


@dataclass(frozen=True)
class NewProject:
    """What somebody wants to have labelled, and how."""

    dataset: str
    kind: str
    name: str = ""
    revision: str = "main"
    instructions: str = ""
    text_field: str = ""
    labels: list[str] = field(default_factory=list)
    num_annotators: int = 1
    shows_names: bool = True


def create_project(*, by: User, wanted: NewProject) -> Project:
    """Begin to label a dataset's one file as it is at one revision.

    Raises:
        NotFound: there is no such dataset or revision that the caller may see.
        BadInput: the file cannot be labelled so; the sentence says why.
    """
    namespace, name = split_repo_id(wanted.dataset, field="dataset")
    repo = get_repo(by, Kind.DATASET, namespace, name)
    check_may_read(by, repo)
    commit = get_commit(repo, wanted.revision)
    found = find_data_file(commit)
    if found is None:
        message = (
            f"dataset: {wanted.dataset} needs one .jsonl file to label; name the file to take "
            "train.jsonl."
        )
        raise BadInput(message, field="dataset", code="dataset_file_unclear")
    path, blob = found
    num_rows = count_rows(blob)
    if num_rows == 0:
        message = f"dataset: {wanted.dataset} has no row to label."
        raise BadInput(message, field="dataset", code="dataset_empty")
    labels = _check_labels(wanted.kind, wanted.labels)
    project = Project(
        owner=by,
        name=wanted.name.strip() or commit.repo.name,
        instructions=wanted.instructions,
        kind=wanted.kind,
        commit=commit,
        dataset=commit.repo.repo_id,
        revision=commit.sha,
        path=path,
        num_rows=num_rows,
        text_field=wanted.text_field if wanted.kind == TaskKind.SPANS else "",
        labels=labels,
        needs_drafts=check_suits(wanted.kind, wanted.text_field, blob),
        num_annotators=wanted.num_annotators,
        shows_names=wanted.shows_names,
    )
    project.full_clean()
    with transaction.atomic():
        project.save(force_insert=True)
        Member.objects.create(project=project, user=by, number=1)
    audit.record("labelling.created", actor=by, subject=str(project.pk), dataset=project.dataset)
    return project


@transaction.atomic
def update_project(*, by: User, project: Project, wish: dict[str, Any]) -> Project:
    """Change a project's name, instructions, names setting, further labels, or close and open it.

    Raises:
        NotFound, Forbidden: it is not the caller's.
        BadInput: a label that may be in use would go away.
    """
    check_owner(by, project)
    project = lock_project(project.pk)
    if "labels" in wish:
        wish = wish | {"labels": _check_labels(project.kind, wish["labels"])}
        if gone := [label for label in project.labels if label not in wish["labels"]]:
            message = f"labels: {gone[0]!r} may be in use; add labels, but leave out none."
            raise BadInput(message, field="labels", code="label_in_use", label=gone[0])
    for name, value in wish.items():
        setattr(project, name, value)
    project.full_clean(validate_constraints=False)
    project.save(update_fields=list(wish))
    audit.record("labelling.updated", actor=by, subject=str(project.pk), fields=sorted(wish))
    return project


@transaction.atomic
def delete_project(*, by: User, project: Project) -> None:
    """Delete a project with all its answers; what was saved from it stays.

    Raises:
        NotFound, Forbidden: it is not the caller's.
        Conflict: a model is drafting for it; stop that first.
    """
    check_owner(by, project)
    project = lock_project(project.pk)
    if project.draftings.filter(state__in=ACTIVE).exists():
        message = "A model is drafting for this project: stop that first."
        raise Conflict(message, code="drafting_active")
    subject = str(project.pk)
    project.delete()
    audit.record("labelling.deleted", actor=by, subject=subject)


@transaction.atomic
def invite_member(*, by: User, project: Project, username: str) -> Member:
    """Let somebody label here; who was sent away comes back with what they had done.

    Raises:
        NotFound, Forbidden: the project is not the caller's.
        BadInput: there is no such person.
    """
    check_owner(by, project)
    project = lock_project(project.pk)
    user = User.objects.filter(username__iexact=username.strip(), is_active=True).first()
    if user is None:
        message = f"username: there is no {username[:80]!r}; ask them for their sign-in name."
        raise BadInput(message, field="username", code="no_such_user", username=username[:80])
    member = project.members.filter(user=user).first()
    if member is None:
        if project.members.count() >= MOST_MEMBERS:
            message = f"username: a project has {MOST_MEMBERS} annotators at most."
            raise BadInput(message, field="username", code="too_many_members", most=MOST_MEMBERS)
        last = project.members.aggregate(last=Max("number"))["last"] or 0
        member = Member(project=project, user=user, number=last + 1)
    member.is_active = True
    member.save()
    audit.record("labelling.invited", actor=by, subject=str(project.pk), user=user.username)
    return member


@transaction.atomic
def remove_member(*, by: User, project: Project, username: str) -> None:
    """Let somebody label here no more. What they answered stays; what they hold goes back.

    Raises:
        NotFound, Forbidden: the project is not the caller's, or has no such annotator.
        BadInput: it is the owner.
    """
    check_owner(by, project)
    project = lock_project(project.pk)
    named = project.members.filter(user__username__iexact=username.replace("\0", ""))
    member = named.filter(is_active=True).first()
    if member is None:
        raise NotFound
    if member.user_id == project.owner_id:
        message = "username: the owner stays; close the project to end the labelling."
        raise BadInput(message, field="username", code="owner_stays")
    release_member(project=project, member=member)
    member.is_active = False
    member.save(update_fields=["is_active"])
    audit.record("labelling.removed", actor=by, subject=str(project.pk), user=member.user.username)


def decide_row(*, by: User, project: Project, row: int, wish: dict[str, Any] | None) -> Item:
    """Settle a row, whatever its answers say; None takes the decision back.

    Raises:
        NotFound, Forbidden: the project is not the caller's, or nobody answered this row.
        BadInput: the verdict does not fit the row.
    """
    check_owner(by, project)
    if row >= project.num_rows:
        raise NotFound
    said = None if wish is None else check_said(project, read_source_row(project, row), wish)
    with transaction.atomic():
        lock_project(project.pk)
        item = project.items.filter(row=row, num_answers__gt=0).first()
        if item is None:
            raise NotFound
        item.decision = None if said is None else vars(said)
        item.decided_by = None if said is None else by
        item.decided_at = None if said is None else timezone.now()
        item.save(update_fields=["decision", "decided_by", "decided_at"])
    audit.record("labelling.decided", actor=by, subject=str(project.pk), row=row)
    return item


def check_owner(by: User, project: Project) -> None:
    """Let pass the owner.

    Raises:
        NotFound: the person may not even know of it.
        Forbidden: they only label here.
    """
    if project.owner_id == by.pk:
        return
    if not project.members.filter(user=by, is_active=True).exists():
        raise NotFound
    message = f"Only {project.owner.username}, who owns this project, may do that."
    raise Forbidden(message, code="not_owner")


def _check_labels(kind: str, labels: list[str]) -> list[str]:
    if kind != TaskKind.SPANS:
        return []
    kept = list(dict.fromkeys(label.strip() for label in labels if label.strip()))
    if not 1 <= len(kept) <= MOST_LABELS:
        message = f"labels: name 1 to {MOST_LABELS} labels for the spans."
        raise BadInput(message, field="labels", code="bad_labels", most=MOST_LABELS)
    return kept
