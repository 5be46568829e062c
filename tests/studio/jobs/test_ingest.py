"""The way up: what is lost, doubled or torn between node and studio, the record comes out whole."""

import hashlib
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.events import EVENTS, encode_log
from studio.core.errors import BadInput, Conflict
from studio.core.sentences import find_told
from studio.jobs.ingest import Post, claim_run, ingest_events, refuse_run
from studio.jobs.models import Run, RunEvent
from studio.jobs.services import stop_job
from studio.jobs.stored import iterate_log
from studio.points.selectors import get_balance, get_run_hold
from studio.points.services import grant_points, hold_points
from tests.factories import make_claimed_run, make_job, make_node

pytestmark = pytest.mark.django_db
T0 = 1_000_000.0


def post(run: Run, *events: dict, now: float = T0, alive: bool = True):
    parsed = EVENTS.validate_python([{"time": now, **event} for event in events])
    return ingest_events(run=run, post=Post(now=now, alive=alive, events=parsed))


def say(seq: int, piece: bytes) -> dict:
    return {"seq": seq, "type": "log", **encode_log(piece)}


def start(seq: int = 0) -> dict:
    return {"seq": seq, "type": "status", "status": "running"}


def end(seq: int, log: bytes, status: str = "succeeded", **extra) -> dict:
    digest = hashlib.sha256(log).hexdigest()
    extra = {"reason": "completed", "exit_code": 0} | extra
    return {
        "seq": seq,
        "type": "status",
        "status": status,
        "log_bytes": len(log),
        "log_sha256": digest,
        **extra,
    }


def read_log(run: Run) -> bytes:
    return b"".join(bytes(piece.data) for piece in iterate_log(run))


def test_a_node_starts_a_run_once(alice):
    run = make_job(owner=alice, node=make_node(), placement_number=1).current_run
    assert claim_run(run=run, placement_number=1).start
    assert claim_run(run=run, placement_number=1).start  # it crashed before it launched
    post(run, start())
    assert not claim_run(run=run, placement_number=1).start


def test_a_claim_moves_the_run_to_starting(alice):
    run = make_job(owner=alice, node=make_node(), placement_number=1).current_run
    claim_run(run=run, placement_number=1)
    run.refresh_from_db()
    assert run.status == "starting"
    assert run.claimed_at is not None


def test_an_order_of_an_earlier_placement_starts_nothing(alice):
    run = make_job(owner=alice, node=make_node(), placement_number=2).current_run
    claim = claim_run(run=run, placement_number=1)
    assert not claim.start
    assert "another node" in claim.reason


def test_an_order_after_a_stop_starts_nothing(alice):
    ended = {"status": "stopped", "reason": "stopped_by_owner", "ended_at": timezone.now()}
    run = make_job(owner=alice, node=make_node(), placement_number=1, **ended).current_run
    assert not claim_run(run=run, placement_number=1).start


@pytest.fixture
def placed(alice, adam) -> Run:
    """A run that was sent to a node, with a hold of 500."""
    grant_points(by=adam, to=alice, mpoints=1000, note="", key="placed")
    run = make_job(owner=alice, node=make_node(), placement_number=2).current_run
    hold_points(user=alice, mpoints=500, run_id=run.pk, note="")
    return run


def refuse(run: Run, *fields: str, placement_number: int = 2) -> bool:
    return refuse_run(run=run, placement_number=placement_number, fields=fields)


def test_a_run_that_its_node_cannot_read_fails_once_and_gives_its_points_back(placed, alice):
    assert refuse(placed, "spec.new_field", "spec.lora.rank")
    assert not refuse(placed, "spec.new_field")
    placed.refresh_from_db()
    assert (placed.status, placed.reason) == ("failed", "launch_failed")
    assert "Node lab-1 cannot read spec.new_field, spec.lora.rank of this job" in placed.message
    assert find_told(placed.message)["code"] == "run_refused"
    assert get_balance(alice).available_mpoints == 1000
    assert get_run_hold(placed.pk) == 0
    assert not claim_run(run=placed, placement_number=2).start


def test_a_refusal_of_a_node_that_the_run_was_taken_off_changes_nothing(placed):
    assert not refuse(placed, "spec", placement_number=1)
    Run.objects.filter(pk=placed.pk).update(node=None)  # it waits for another
    assert not refuse(placed, "spec")
    placed.refresh_from_db()
    assert placed.status == "queued"


def test_a_refusal_after_a_claim_or_a_stop_changes_nothing(placed, alice):
    assert claim_run(run=placed, placement_number=2).start
    assert not refuse(placed, "spec")
    placed.refresh_from_db()
    assert placed.status == "starting"
    other = make_job(owner=alice, node=placed.node, placement_number=2).current_run
    stop_job(by=alice, job=other.job)
    assert not refuse(other, "spec")
    other.refresh_from_db()
    assert (other.status, other.reason) == ("stopped", "stopped_by_owner")


def test_nothing_comes_from_a_run_that_nobody_claimed(alice):
    run = make_job(owner=alice, node=make_node(), placement_number=1).current_run
    with pytest.raises(Conflict):
        post(run, start())


def test_events_are_stored_and_the_next_one_is_asked_for(alice):
    run = make_claimed_run(alice)
    assert post(run, start(), say(1, b"hello\n")).next_seq == 2
    run.refresh_from_db()
    assert (run.status, run.log_bytes, run.log_lines) == ("running", 6, 1)


def test_a_repeat_is_stored_once(alice):
    run = make_claimed_run(alice)
    post(run, start(), say(1, b"one\n"))
    assert post(run, start(), say(1, b"one\n"), say(2, b"two\n")).next_seq == 3
    assert read_log(run) == b"one\ntwo\n"


def test_a_gap_is_asked_for_again(alice):
    run = make_claimed_run(alice)
    post(run, start())
    assert post(run, say(5, b"later\n")).next_seq == 1
    assert RunEvent.objects.filter(run=run).count() == 1


def test_events_out_of_order_are_refused_by_their_seq(alice):
    run = make_claimed_run(alice)
    with pytest.raises(BadInput) as refusal:
        post(run, start(), say(2, b"x"))
    assert refusal.value.field == "events.1.seq"


def test_a_whole_log_is_known_to_be_whole(alice):
    run = make_claimed_run(alice)
    post(run, start(), say(1, b"a\xff\x00b"), end(2, b"a\xff\x00b"))
    run.refresh_from_db()
    assert (run.status, run.reason, run.log_complete) == ("succeeded", "completed", True)


def test_a_log_that_differs_is_known_to_differ(alice):
    run = make_claimed_run(alice)
    post(run, start(), say(1, b"changed"), end(2, b"written"))
    run.refresh_from_db()
    assert run.log_complete is False


def test_the_reason_and_exit_code_of_a_crash_are_kept(alice):
    run = make_claimed_run(alice)
    crash = end(1, b"", "failed", reason="out_of_memory", message="Too big.", exit_code=-9)
    post(run, start(), crash)
    run.refresh_from_db()
    assert (run.reason, run.message, run.exit_code) == ("out_of_memory", "Too big.", -9)


def test_a_run_may_fail_before_it_ran(alice):
    run = make_claimed_run(alice)
    post(run, end(0, b"", "failed", reason="bad_spec"))
    run.refresh_from_db()
    assert (run.status, run.reason) == ("failed", "bad_spec")


def test_a_stop_is_carried_by_every_answer_until_the_end(alice):
    run = make_claimed_run(alice)
    post(run, start())
    stopping = {"status": "stopping", "stop_reason": "stopped_by_owner", "stop_message": "Stop."}
    Run.objects.filter(pk=run.pk).update(**stopping)
    assert post(run).stop == ("stopped_by_owner", "Stop.")
    assert post(run, say(1, b"x")).stop == ("stopped_by_owner", "Stop.")
    assert post(run, end(2, b"x", "stopped", reason="stopped_by_owner")).stop is None
    run.refresh_from_db()
    assert run.status == "stopped"


def test_who_comes_after_the_studio_gave_up_is_told_to_stop_and_heard_out(alice):
    run = make_claimed_run(alice)
    post(run, start(), say(1, b"one\n"))
    lost = {"status": "failed", "reason": "node_lost", "ended_at": timezone.now()}
    Run.objects.filter(pk=run.pk).update(**lost)
    assert post(run, say(2, b"two\n")).stop[0] == "node_lost"
    assert post(run, end(3, b"one\ntwo\n", "stopped")).stop is None
    run.refresh_from_db()
    assert (run.status, run.reason, run.log_complete) == ("failed", "node_lost", True)


def test_what_comes_after_the_last_event_changes_nothing(alice):
    run = make_claimed_run(alice)
    post(run, start(), end(1, b""))
    assert post(run, say(2, b"ghost")).next_seq == 2
    assert read_log(run) == b""


def test_metrics_progress_and_artifacts_show_on_the_run(alice):
    run = make_claimed_run(alice)
    post(
        run,
        start(),
        {"seq": 1, "type": "metric", "step": 3, "values": {"loss": 1.5, "grad_norm": float("nan")}},
        {"seq": 2, "type": "progress", "stage": "train", "done": 3, "total": 9, "unit": "step"},
        {"seq": 3, "type": "artifact", "name": "step-3", "role": "checkpoint", "step": 3},
    )
    run.refresh_from_db()
    assert run.latest_metrics == {"loss": 1.5, "grad_norm": None, "step": 3}
    assert run.progress["total"] == 9
    assert run.artifacts[0]["role"] == "checkpoint"


def test_a_pushed_adapter_shows_on_the_job(alice):
    run = make_claimed_run(alice)
    pushed = {"seq": 1, "type": "artifact", "name": "adapter", "role": "adapter"}
    post(run, start(), {**pushed, "repo": "alice/tuned", "revision": "a" * 40})
    run.job.refresh_from_db()
    assert run.job.output_revision == "a" * 40


def test_an_artifact_of_another_repo_is_not_the_jobs_output(alice):
    run = make_claimed_run(alice)
    pushed = {"seq": 1, "type": "artifact", "name": "adapter", "role": "adapter"}
    post(run, start(), {**pushed, "repo": "bob/tuned", "revision": "a" * 40})
    run.job.refresh_from_db()
    assert run.job.output_revision == ""


def test_a_nul_in_a_sample_is_stored(alice):
    run = make_claimed_run(alice)
    post(
        run, start(), {"seq": 1, "type": "sample", "step": 1, "prompt": "a\x00b", "completion": ""}
    )
    assert RunEvent.objects.get(run=run, seq=1).body["prompt"] == "a\ufffdb"


def test_an_empty_post_proves_life(alice):
    run = make_claimed_run(alice)
    post(run, start())
    past = timezone.now() - timedelta(minutes=5)
    Run.objects.filter(pk=run.pk).update(last_heartbeat_at=past)
    post(run, now=T0 + 7)
    run.refresh_from_db()
    assert run.last_heartbeat_at > past
    assert run.node_seen_time - run.node_started_time == 7


def test_a_post_that_says_the_engine_is_gone_proves_nothing(alice):
    run = make_claimed_run(alice)
    post(run, start())
    past = timezone.now() - timedelta(minutes=5)
    Run.objects.filter(pk=run.pk).update(last_heartbeat_at=past)
    post(run, now=T0 + 7, alive=False)
    run.refresh_from_db()
    assert run.last_heartbeat_at == past
    assert run.node_seen_time == run.node_started_time


def test_a_node_clock_that_jumps_back_takes_no_time_back(alice):
    run = make_claimed_run(alice)
    post(run, start())
    post(run, now=T0 + 9)
    post(run, now=T0 - 500)
    run.refresh_from_db()
    assert run.node_seen_time == T0 + 9


def test_starts_and_ends_are_on_the_studios_clock(alice):
    """The node's clock is years off: what is shown stays between the claim and now."""
    run = make_claimed_run(alice)
    post(run, start(), end(1, b""))
    run.refresh_from_db()
    assert run.claimed_at <= run.started_at <= run.ended_at <= timezone.now()


_PIECES = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=12)
_POSTS = st.lists(st.tuples(st.integers(0, 14), st.integers(1, 15)), max_size=30)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=_PIECES, posts=_POSTS)
def test_random_repeats_gaps_and_disorder_end_in_the_same_bytes(alice, pieces, posts):
    """Any batches in any order, then a reporter that goes by `next_seq`: every byte once."""
    Run.objects.all().delete()
    log = b"".join(pieces)
    events = [start(), *(say(seq, piece) for seq, piece in enumerate(pieces, start=1))]
    events.append(end(len(events), log))
    node = make_node(f"n{timezone.now().timestamp()}".replace(".", ""))
    run = make_claimed_run(alice, node)
    for first, length in posts:
        post(run, *events[first : first + length])
    next_seq = post(run).next_seq
    while next_seq < len(events):
        next_seq = post(run, *events[next_seq : next_seq + 3]).next_seq
    run.refresh_from_db()
    assert read_log(run) == log
    assert (run.log_bytes, run.log_complete) == (len(log), True)
    assert run.log_lines == len(log.split(b"\n")) - log.endswith(b"\n")
    offsets = [(piece.byte_offset, piece.first_line) for piece in iterate_log(run)]
    befores = [b"".join(pieces[:index]) for index in range(len(pieces))]
    assert offsets == [(len(before), before.count(b"\n")) for before in befores]
