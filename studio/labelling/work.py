"""How rows go out to people and come back: each to as many as the project wants, never to more.

Everything here happens under the lock of the project's row, in short transactions that touch a
handful of rows however long the file is. A row is taken for half an hour; who saves what they type
keeps it longer, and who leaves it gives it back to the pool.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from studio.accounts.models import User
from studio.core.errors import Conflict, NotFound
from studio.labelling.models import Answer, AnswerState, Item, Member, Project
from studio.labelling.verdicts import Said

HELD_FOR = timedelta(minutes=30)
LONGEST_S = 600
"""A row that was open for longer was not worked on all the time."""
_EXPIRED_AT_ONCE = 200
_TOUCHED = [AnswerState.HELD.value, AnswerState.DONE.value, AnswerState.SKIPPED.value]


def take_next(*, by: User, project_id: UUID) -> Answer | None:
    """Put a row into somebody's hands, the same one until they answer it; None when none is left.

    Raises:
        NotFound: they do not label here.
        Conflict: `labelling_closed`.
    """
    with transaction.atomic():
        project, member = _lock(by, project_id)
        _check_open(project)
        held = Answer.objects.filter(project=project, annotator=by, state=AnswerState.HELD)
        if mine := held.select_related("item").order_by("row").first():
            return _renew(mine)
        _give_back_expired(project)
        if item := _find_returned(project, by):
            return _take(project, member, item)
        if item := _find_free(project, member) or _open_row(project):
            # Only here: a row that came back lies anywhere, and those before it are still to come.
            member.next_row = item.row + 1
            member.save(update_fields=["next_row"])
            return _take(project, member, item)
        return None


def keep_unsent(
    *, by: User, project_id: UUID, row: int, revision: int, unsent: dict[str, Any]
) -> Answer:
    """Keep what somebody has typed at a row in their hands, and let them hold it longer.

    Raises:
        NotFound: they never had it.
        Conflict: `answer_moved`, `row_given_away` or `labelling_closed`.
    """
    with transaction.atomic():
        project, _ = _lock(by, project_id)
        _check_open(project)
        answer = _get_mine(project, by, row)
        _check_revision(answer, revision)
        if answer.state != AnswerState.DONE:
            _hold_again(answer)
        answer.unsent = unsent
        answer.save()
        return answer


def send_answer(*, by: User, project_id: UUID, row: int, revision: int, said: Said) -> Answer:
    """Keep an answer. The same one sent twice is kept once; an answer may be sent anew.

    Raises:
        NotFound: they never had the row.
        Conflict: `answer_moved` when another tab was first, `row_given_away` when the row waited
            too long and others have it, `row_decided`, `labelling_closed`.
    """
    with transaction.atomic():
        project, _ = _lock(by, project_id)
        answer = _get_mine(project, by, row)
        if _is_repeat(answer, revision, said):
            return answer
        _check_open(project)
        _check_revision(answer, revision)
        _check_undecided(answer)
        is_new = answer.state != AnswerState.DONE
        if is_new:
            _hold_again(answer)
        _keep(answer, said)
        _count(project, answer, 1 if is_new else 0)
        return answer


def skip_row(*, by: User, project_id: UUID, row: int) -> None:
    """Put a row aside: somebody else gets it, and this person not again.

    Raises:
        NotFound: they never had it.
    """
    with transaction.atomic():
        project, _ = _lock(by, project_id)
        answer = _get_mine(project, by, row)
        if answer.state == AnswerState.HELD:
            _give_back(answer, AnswerState.SKIPPED)


def undo_last(*, by: User, project_id: UUID) -> Answer:
    """Take back one's last answer, and hold its row again with what was said; again goes further.

    Raises:
        NotFound: they do not label here.
        Conflict: `nothing_to_undo`, `row_decided` or `labelling_closed`.
    """
    with transaction.atomic():
        project, _ = _lock(by, project_id)
        _check_open(project)
        mine = Answer.objects.filter(project=project, annotator=by, done_at__isnull=False)
        answer = mine.select_related("item").order_by("-done_at", "-pk").first()
        if answer is None:
            raise Conflict("You have no answer here to take back.", code="nothing_to_undo")
        _check_undecided(answer)
        answer.state, answer.done_at = AnswerState.HELD, None
        answer.revision += 1
        _renew(answer)
        _count(project, answer, -1)
        return answer


def release_member(*, project: Project, member: Member) -> None:
    """Give back all that somebody holds. The caller has locked the project."""
    held = Answer.objects.filter(project=project, annotator=member.user, state=AnswerState.HELD)
    for answer in held.select_related("item"):
        _give_back(answer, AnswerState.LAPSED)


def lock_project(project_id: UUID) -> Project:
    """Lock a project's row.

    Raises:
        NotFound: it is gone.
    """
    project = Project.objects.select_for_update(of=("self",)).filter(pk=project_id).first()
    if project is None:
        raise NotFound
    return project


def judge_item(item: Item) -> None:
    """Note whether the answers to a row differ."""
    done = Answer.objects.filter(item=item, state=AnswerState.DONE)
    item.is_disputed = len(set(done.values_list("key", flat=True))) > 1


def _lock(by: User, project_id: UUID) -> tuple[Project, Member]:
    project = lock_project(project_id)
    member = project.members.filter(user=by, is_active=True).first()
    if member is None:
        raise NotFound
    return project, member


def _check_open(project: Project) -> None:
    if not project.is_open:
        message = f"{project.name} is closed: its owner takes no more answers."
        raise Conflict(message, code="labelling_closed")


def _find_returned(project: Project, by: User) -> Item | None:
    """Return the first row that somebody gave back and this person has not had."""
    mine = Answer.objects.filter(item=OuterRef("pk"), annotator=by, state__in=_TOUCHED)
    returned = project.items.filter(was_returned=True, num_free__gt=0)
    return returned.filter(~Exists(mine)).order_by("row").first()


def _find_free(project: Project, member: Member) -> Item | None:
    """Return the first row that wants more people and was not offered to this one."""
    mine = Answer.objects.filter(item=OuterRef("pk"), annotator=member.user, state__in=_TOUCHED)
    free = project.items.filter(row__gte=member.next_row, num_free__gt=0)
    return free.filter(~Exists(mine)).order_by("row").first()


def _open_row(project: Project) -> Item | None:
    ready = project.next_draft_row if project.needs_drafts else project.num_rows
    if project.next_row >= ready:
        return None
    item = Item.objects.create(
        project=project, row=project.next_row, num_free=project.num_annotators
    )
    project.next_row += 1
    project.save(update_fields=["next_row"])
    return item


def _take(project: Project, member: Member, item: Item) -> Answer:
    answer = Answer.objects.filter(item=item, annotator=member.user).first()
    answer = answer or Answer(project=project, item=item, row=item.row, annotator=member.user)
    answer.item = item
    _occupy(item)
    answer.state, answer.taken_at = AnswerState.HELD, timezone.now()
    return _renew(answer)


def _occupy(item: Item) -> None:
    item.num_free -= 1
    if item.num_free == 0:
        item.was_returned = False
    item.save(update_fields=["num_free", "was_returned"])


def _renew(answer: Answer) -> Answer:
    answer.expires_at = timezone.now() + HELD_FOR
    answer.save()
    return answer


def _hold_again(answer: Answer) -> None:
    """Keep a row in somebody's hands, or give it back to them where it is still free."""
    if answer.state != AnswerState.HELD:
        if answer.item.num_free == 0:
            message = (
                "This row waited too long and others have it now. What you typed is kept here; go "
                "on with the next row."
            )
            raise Conflict(message, code="row_given_away", row=answer.row)
        _occupy(answer.item)
        answer.state = AnswerState.HELD
    answer.expires_at = timezone.now() + HELD_FOR


def _give_back_expired(project: Project) -> None:
    late = Answer.objects.filter(
        project=project, state=AnswerState.HELD, expires_at__lte=timezone.now()
    )
    for answer in late.select_related("item")[:_EXPIRED_AT_ONCE]:
        answer.item.refresh_from_db()  # two of them may be of one row
        _give_back(answer, AnswerState.LAPSED)


def _give_back(answer: Answer, state: AnswerState) -> None:
    answer.state, answer.expires_at = state, None
    answer.save(update_fields=["state", "expires_at"])
    answer.item.num_free += 1
    answer.item.was_returned = True
    answer.item.save(update_fields=["num_free", "was_returned"])


def _get_mine(project: Project, by: User, row: int) -> Answer:
    if row >= project.num_rows:  # however large: no column holds just any number
        raise NotFound
    mine = Answer.objects.filter(project=project, annotator=by, row=row)
    answer = mine.select_related("item").first()
    if answer is None:
        raise NotFound
    return answer


def _is_repeat(answer: Answer, revision: int, said: Said) -> bool:
    is_same = answer.key == said.key and answer.reason == said.reason
    return answer.state == AnswerState.DONE and answer.revision == revision + 1 and is_same


def _check_revision(answer: Answer, revision: int) -> None:
    if answer.revision != revision:
        message = "This row was answered in another tab: what was sent there is kept."
        raise Conflict(
            message,
            code="answer_moved",
            field="revision",
            revision=answer.revision,
            verdict=answer.verdict,
            content=answer.content,
            reason=answer.reason,
        )


def _check_undecided(answer: Answer) -> None:
    if answer.item.decided_at is not None:
        message = f"The owner has decided row {answer.row + 1} already: the answer stays."
        raise Conflict(message, code="row_decided", row=answer.row)


def _keep(answer: Answer, said: Said) -> None:
    now = timezone.now()
    answer.verdict, answer.content = said.verdict, said.content
    answer.reason, answer.key = said.reason, said.key
    if answer.done_at is None and answer.seconds is None:
        answer.seconds = min(LONGEST_S, int((now - answer.taken_at).total_seconds()))
    answer.done_at = answer.done_at or now
    answer.state, answer.expires_at, answer.unsent = AnswerState.DONE, None, None
    answer.revision += 1
    answer.save()


def _count(project: Project, answer: Answer, change: int) -> None:
    """Bring the counters of a row, its project and its annotator up to date."""
    item = answer.item
    was_done = item.num_answers >= project.num_annotators
    item.num_answers += change
    is_done = item.num_answers >= project.num_annotators
    judge_item(item)
    item.save(update_fields=["num_answers", "is_disputed"])
    if change:
        mine = project.members.filter(user=answer.annotator_id)
        mine.update(num_done=F("num_done") + change)
        Project.objects.filter(pk=project.pk).update(
            num_answers=F("num_answers") + change,
            num_done=F("num_done") + int(is_done) - int(was_done),
            updated_at=timezone.now(),
        )
