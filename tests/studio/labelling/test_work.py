"""Rows go out to as many people as wanted, come back, and are never lost."""

import threading
from datetime import timedelta

import pytest
import time_machine
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.core.errors import Conflict
from studio.labelling.models import Answer, AnswerState, Item, Project
from studio.labelling.services import remove_member
from studio.labelling.verdicts import Said
from studio.labelling.work import HELD_FOR, send_answer, skip_row, take_next, undo_last
from tests.factories import make_user
from tests.studio.labelling.made import make_project, talks

pytestmark = pytest.mark.django_db
YES = Said("accept")


def take(user, project):
    return take_next(by=user, project_id=project.pk)


def send(user, project, answer, said=YES):
    return send_answer(
        by=user, project_id=project.pk, row=answer.row, revision=answer.revision, said=said
    )


def check_places(project: Project) -> None:
    """No row is out with more people than wanted, and every place is accounted for."""
    taken = [AnswerState.HELD, AnswerState.DONE]
    project.refresh_from_db()
    for item in project.items.all():
        answers = Answer.objects.filter(item=item)
        num_taken = answers.filter(state__in=taken).count()
        assert 0 <= item.num_free == project.num_annotators - num_taken
        assert item.num_answers == answers.filter(state=AnswerState.DONE).count()
    done = Item.objects.filter(project=project, num_answers=project.num_annotators)
    assert project.num_done == done.count()
    assert project.num_answers == sum(member.num_done for member in project.members.all())


def test_the_next_row_is_the_same_until_it_is_answered(alice, project):
    first = take(alice, project)
    assert take(alice, project).row == first.row == 0
    send(alice, project, first)
    assert take(alice, project).row == 1


def test_two_people_never_have_the_same_row_where_one_is_enough(alice, bob):
    project = make_project(alice, talks(6), people=[bob])
    rows = []
    while (mine := take(alice, project)) and (his := take(bob, project)):
        rows += [mine.row, his.row]
        send(alice, project, mine)
        send(bob, project, his)
    assert sorted(rows) == list(range(6))
    check_places(project)


def test_a_row_goes_to_as_many_as_wanted_and_never_twice_to_one(alice, bob, carol):
    project = make_project(alice, talks(4), people=[bob, carol], num_annotators=2)
    for person in (alice, bob, carol):
        while answer := take(person, project):
            send(person, project, answer)
    assert Answer.objects.filter(state=AnswerState.DONE).count() == 8
    check_places(project)
    assert project.num_done == 4


def test_an_abandoned_row_returns_to_the_pool_behind_those_who_went_on(alice, bob):
    project = make_project(alice, talks(3), people=[bob])
    abandoned = take(alice, project)
    for _ in range(2):
        send(bob, project, take(bob, project))
    assert take(bob, project) is None
    with time_machine.travel(timezone.now() + HELD_FOR + timedelta(seconds=1), tick=False):
        again = take(bob, project)
        assert again.row == abandoned.row
        with pytest.raises(Conflict) as refused:
            send(alice, project, abandoned)
        assert refused.value.code == "row_given_away"
    check_places(project)


def test_a_late_answer_counts_where_nobody_has_the_row(alice, bob):
    project = make_project(alice, talks(2), people=[bob])
    late = take(alice, project)
    with time_machine.travel(timezone.now() + HELD_FOR + timedelta(seconds=1), tick=False):
        take(bob, project)  # collects what has expired, and gets that row first
        skip_row(by=bob, project_id=project.pk, row=late.row)
        send(alice, project, late)
    check_places(project)
    assert project.num_answers == 1


def test_a_skipped_row_goes_to_somebody_else_and_not_back(alice, bob):
    project = make_project(alice, talks(2), people=[bob])
    skipped = take(alice, project)
    skip_row(by=alice, project_id=project.pk, row=skipped.row)
    send(alice, project, take(alice, project))
    assert take(alice, project) is None
    assert take(bob, project).row == skipped.row


def test_who_takes_a_row_that_came_back_still_gets_those_before_it(alice, bob):
    project = make_project(alice, talks(3), people=[bob], num_annotators=2)
    for _ in range(3):
        send(alice, project, take(alice, project))
    undo_last(by=alice, project_id=project.pk)
    skip_row(by=alice, project_id=project.pk, row=2)
    rows = []
    while answer := take(bob, project):
        rows.append(answer.row)
        send(bob, project, answer)
    assert sorted(rows) == [0, 1, 2]


def test_undo_goes_back_answer_by_answer(alice, project):
    for _ in range(2):
        send(alice, project, take(alice, project))
    rows = [undo_last(by=alice, project_id=project.pk).row for _ in range(2)]
    assert rows == [1, 0]
    check_places(project)
    assert project.num_answers == 0
    with pytest.raises(Conflict) as refused:
        undo_last(by=alice, project_id=project.pk)
    assert refused.value.code == "nothing_to_undo"


def test_who_is_sent_away_gives_back_what_they_hold(alice, bob):
    project = make_project(alice, talks(2), people=[bob])
    held = take(bob, project)
    remove_member(by=alice, project=project, username="bob")
    assert take(alice, project).row == held.row
    check_places(project)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["take", "send", "skip", "undo", "late", "disagree"]), st.integers(0, 2)
    ),
    max_size=60,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(acts=ACTS, num_annotators=st.integers(1, 3))
def test_whatever_people_do_no_row_is_lost_or_given_to_too_many(db, acts, num_annotators):
    people = [
        make_user(f"p{Project.objects.count()}x{i}x{Answer.objects.count()}") for i in range(3)
    ]
    project = make_project(people[0], talks(4), people=people[1:], num_annotators=num_annotators)
    start = timezone.now()
    with time_machine.travel(start, tick=False) as clock:
        for act, who in acts:
            _act(act, people[who], project, clock)
            check_places(project)
        clock.shift(HELD_FOR + timedelta(seconds=1))
        for person in people:  # whoever has not skipped a row can still finish it
            while answer := take(person, project):
                send(person, project, answer)
    check_places(project)
    for item in project.items.filter(num_free__gt=0):
        touched = item.answers.exclude(state=AnswerState.LAPSED).count()
        assert touched == len(people), "a row with room is left only where all have had it"
    assert project.items.count() == 4


def _act(act, person, project, clock) -> None:
    held = Answer.objects.filter(project=project, annotator=person)
    try:
        if act == "take":
            take(person, project)
        elif act == "late":
            clock.shift(HELD_FOR + timedelta(seconds=1))
        elif act == "undo":
            undo_last(by=person, project_id=project.pk)
        elif (answer := held.order_by("-pk").first()) and act == "skip":
            skip_row(by=person, project_id=project.pk, row=answer.row)
        elif answer:
            said = Said("reject") if act == "disagree" else YES
            send(person, project, answer, said)
    except Conflict:
        pass


def test_the_next_row_of_a_long_file_takes_few_queries_and_reads_few_rows(alice, bob):
    project = make_project(alice, talks(3), people=[bob], num_annotators=2)
    Project.objects.filter(pk=project.pk).update(num_rows=100_000, next_row=90_000)
    items = [Item(project=project, row=row, num_free=1) for row in range(20_000)]
    Item.objects.bulk_create(items, batch_size=500)
    project.members.filter(user=bob).update(next_row=15_000)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert take(bob, project).row == 15_000
    assert len(asked) <= 14
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                "EXPLAIN QUERY PLAN SELECT * FROM labelling_item WHERE project_id=%s AND row>=%s "
                "AND num_free > 0 ORDER BY row LIMIT 1",
                [project.pk.hex, 15_000],
            )
            assert "labelling_free" in str(cursor.fetchall())


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_people_who_ask_at_the_same_moment_get_different_rows():
    alice = make_user("alice")
    others = [make_user(f"p{i}") for i in range(3)]
    project = make_project(alice, talks(12), people=others)
    rows: list[int] = []

    def work(person) -> None:
        for _ in range(3):
            answer = take(person, project)
            rows.append(answer.row)
            send(person, project, answer)
        connections.close_all()

    threads = [threading.Thread(target=work, args=(each,)) for each in [alice, *others]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(rows) == list(range(12))
    check_places(project)
