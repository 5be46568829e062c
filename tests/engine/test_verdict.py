"""Every way a run can end has one status and one reason."""

import signal

import pytest

from engine.status import FINAL, Reason, Status
from engine.verdict import STOP_REASONS, Ending, final_status, judge

STOP = {"reason": "time_limit", "message": "One hour is over."}
SUCCEEDED = {"status": "succeeded", "reason": "completed"}
BAD_DATA = {"status": "failed", "reason": "bad_data", "message": "Row 3."}
GIB = 2**30


@pytest.mark.parametrize(
    ("ending", "status", "reason"),
    [
        (Ending(0), "succeeded", "completed"),
        (Ending(0, wish=SUCCEEDED), "succeeded", "completed"),
        (Ending(1), "failed", "crashed"),
        (Ending(1, wish=BAD_DATA), "failed", "bad_data"),
        (Ending(0, wish=BAD_DATA), "failed", "bad_data"),
        (Ending(-signal.SIGSEGV), "failed", "crashed"),
        (Ending(-signal.SIGKILL), "failed", "killed"),
        (Ending(-signal.SIGKILL, kernel_killed_for_memory=True), "failed", "out_of_memory"),
        (Ending(-signal.SIGKILL, peak_bytes=2, limit_bytes=1), "failed", "out_of_memory"),
        (Ending(0, stop=STOP), "stopped", "time_limit"),
        (Ending(-signal.SIGKILL, stop=STOP), "stopped", "time_limit"),
        (Ending(1, stop=STOP), "stopped", "time_limit"),
        # It was done before the stop reached it: nobody is told that work is missing.
        (Ending(0, wish=SUCCEEDED, stop=STOP), "succeeded", "completed"),
        # It died of memory although somebody had asked it to stop: the limit is what ended it.
        (Ending(-9, stop=STOP, peak_bytes=2, limit_bytes=1), "failed", "out_of_memory"),
    ],
)
def test_an_ending_has_one_reason(ending, status, reason):
    final = judge(ending)
    assert (final["status"], final["reason"]) == (status, reason)
    assert Status(final["status"]) in FINAL
    assert final["exit_code"] == ending.exit_code


def test_the_message_names_both_sizes():
    final = judge(Ending(-9, peak_bytes=9 * GIB, limit_bytes=8 * GIB))
    assert "9.00 GiB" in final["message"]
    assert "8.00 GiB" in final["message"]


def test_a_stop_keeps_its_own_message():
    assert judge(Ending(0, stop=STOP))["message"] == "One hour is over."


@pytest.mark.parametrize("reason", list(Reason))
def test_an_abandoned_run_is_stopped_only_where_somebody_stopped_it(reason):
    assert (final_status(reason) == Status.STOPPED) == (reason in STOP_REASONS)
