"""What a run needs next, over every state it can be seen in."""

import itertools

import pytest

from engine.status import Reason
from workers.care import LAUNCH_TIMEOUT_S, STOP_TIMEOUT_S, Need, RunView, decide, explain_end
from workers.run_dir import StopWish
from workers.runtimes.base import Life

STOP = StopWish(reason=Reason.POINTS_EXHAUSTED, message="No points are left.")
LATE, SOON = LAUNCH_TIMEOUT_S + 1, 1.0

ALL_VIEWS = [
    RunView(
        life=life,
        launched_s=launched_s,
        is_final=is_final,
        is_reported=is_reported,
        stop=stop,
        terminated_s=terminated_s,
    )
    for life, launched_s, is_final, is_reported, stop, terminated_s in itertools.product(
        (None, *Life), (SOON, LATE), (False, True), (False, True), (None, STOP), (None, 1.0, 9.0)
    )
]


@pytest.mark.parametrize(
    ("view", "need"),
    [
        (RunView(life=None), Need.LAUNCH),
        (RunView(life=Life.STARTING, launched_s=SOON), Need.NOTHING),
        (RunView(life=Life.STARTING, launched_s=LATE), Need.CLOSE),
        (RunView(life=Life.STARTING, launched_s=LATE, is_final=True), Need.NOTHING),
        (RunView(life=Life.STARTING, is_final=True, is_reported=True), Need.SHELVE),
        (RunView(life=Life.ALIVE), Need.NOTHING),
        (RunView(life=Life.ALIVE, stop=STOP), Need.TERMINATE),
        (RunView(life=Life.ALIVE, stop=STOP, terminated_s=STOP_TIMEOUT_S - 1), Need.NOTHING),
        (RunView(life=Life.ALIVE, stop=STOP, terminated_s=STOP_TIMEOUT_S + 1), Need.KILL),
        (RunView(life=Life.GONE), Need.CLOSE),
        (RunView(life=Life.GONE, is_final=True), Need.NOTHING),
        (RunView(life=Life.GONE, is_final=True, is_reported=True), Need.SHELVE),
    ],
)
def test_each_state_has_its_need(view: RunView, need: Need) -> None:
    assert decide(view) is need


def test_what_was_launched_is_never_launched_again() -> None:
    for view in ALL_VIEWS:
        assert (decide(view) is Need.LAUNCH) == (view.life is None), view


def test_nothing_is_closed_that_lives_or_has_its_last_event() -> None:
    closed = [view for view in ALL_VIEWS if decide(view) is Need.CLOSE]
    assert closed
    assert not [view for view in closed if view.life is Life.ALIVE or view.is_final]


def test_nothing_is_shelved_before_the_studio_has_its_last_event() -> None:
    shelved = [view for view in ALL_VIEWS if decide(view) is Need.SHELVE]
    assert shelved
    assert all(view.is_final and view.is_reported for view in shelved)


def test_a_run_ended_for_a_stop_is_stopped_for_that_reason() -> None:
    view = RunView(life=Life.GONE, has_recorder=True, stop=STOP)
    assert explain_end(view, was_rebooted=True) == (STOP.reason, STOP.message)


@pytest.mark.parametrize(
    ("has_recorder", "was_rebooted", "reason"),
    [
        (True, False, Reason.NODE_LOST),
        (True, True, Reason.NODE_LOST),
        (False, True, Reason.NODE_LOST),
        (False, False, Reason.LAUNCH_FAILED),
    ],
)
def test_a_run_that_ended_unasked_is_told_apart(
    has_recorder: bool, was_rebooted: bool, reason: Reason
) -> None:
    view = RunView(life=Life.GONE, has_recorder=has_recorder)
    assert explain_end(view, was_rebooted=was_rebooted)[0] is reason
