"""Who gets which node, and that an order is sent until it is heard."""

from datetime import timedelta

import pytest
from celery import Celery
from django.utils import timezone

from studio.celery import app as studio_app
from studio.compute.models import Node
from studio.jobs.ingest import claim_run
from studio.jobs.models import Run
from studio.jobs.run_tokens import BadRunToken, make_run_token, read_run_token
from studio.jobs.scheduler import list_queue, make_order, place_runs, send_orders
from tests.factories import make_job, make_node, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def broker():
    """A broker in memory and what is on its queues."""
    app = Celery("broker", broker="memory://")
    app.conf.task_ignore_result = True
    with app.connection_for_write() as connection:
        connection.default_channel.queues.clear()
    return app


def count_orders(app: Celery, node: str) -> int:
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(f"node.{node}")
        return queue.qsize()


def placed(*runs: Run) -> list[str | None]:
    for run in runs:
        run.refresh_from_db()
    return [run.node.name if run.node else None for run in runs]


def test_a_queued_run_goes_to_a_node_with_room(alice):
    make_node()
    run = make_job(owner=alice).current_run
    assert place_runs() == 1
    assert placed(run) == ["lab-1"]
    assert run.placement_number == 1


def test_a_node_that_is_silent_gets_nothing_and_the_run_says_so(alice):
    node = make_node()
    Node.objects.filter(pk=node.pk).update(last_seen_at=timezone.now() - timedelta(minutes=1))
    run = make_job(owner=alice).current_run
    place_runs()
    assert placed(run) == [None]
    assert "No node is online" in run.message


def test_a_node_that_can_run_no_engine_gets_no_finetune_and_the_run_says_where_to_look(alice):
    node = make_node()
    Node.objects.filter(pk=node.pk).update(runtime_problem="The image is not on this node.")
    run = make_job(owner=alice).current_run
    assert place_runs() == 0
    assert placed(run) == [None]
    assert run.message.startswith("No node can run such a job now")
    Node.objects.filter(pk=node.pk).update(runtime_problem="")
    assert place_runs() == 1
    assert placed(run) == ["lab-1"]


def test_cores_are_given_once(alice, bob):
    make_node(cores=2)
    first = make_job(owner=alice, flavor="cpu-2").current_run
    second = make_job(owner=bob).current_run
    place_runs()
    assert placed(first, second) == ["lab-1", None]
    assert "busy" in second.message


def test_an_ended_run_gives_its_cores_back(alice, bob):
    make_node(cores=2)
    first = make_job(owner=alice, flavor="cpu-2").current_run
    second = make_job(owner=bob).current_run
    place_runs()
    ended = {"status": "failed", "reason": "crashed", "ended_at": timezone.now()}
    Run.objects.filter(pk=first.pk).update(**ended)
    place_runs()
    assert placed(second) == ["lab-1"]
    assert second.message == ""


def test_memory_is_counted_for_chat_servers_too_and_their_cores_are_not(alice, adam):
    make_node(cores=2, memory_gib=8)
    server = make_job(owner=adam, kind="serve", flavor="serve").current_run
    large = make_job(owner=alice, flavor="cpu-2").current_run
    place_runs()
    assert placed(server, large) == ["lab-1", None]
    small = make_job(owner=adam, flavor="cpu-1").current_run
    Run.objects.filter(pk=large.pk).delete()
    place_runs()
    assert placed(small) == ["lab-1"]


def test_a_gpu_is_given_whole_and_by_its_index(alice):
    make_node(cores=16, memory_gib=64, num_devices=2)
    runs = [make_job(owner=alice, flavor="gpu-1").current_run for _ in range(3)]
    place_runs()
    assert placed(*runs) == ["lab-1", "lab-1", None]
    assert [run.device_indexes for run in runs] == [[0], [1], []]


def test_owners_take_turns(alice, bob):
    make_node(cores=2)
    hers = [make_job(owner=alice).current_run for _ in range(3)]
    his = make_job(owner=bob).current_run
    assert list_queue() == [hers[0].pk, his.pk, hers[1].pk, hers[2].pk]
    place_runs()
    assert placed(hers[0], his, hers[1]) == ["lab-1", "lab-1", None]


def test_a_large_run_is_not_starved_by_small_ones(alice, bob, carol):
    make_node(cores=2)
    make_job(owner=carol)
    place_runs()
    large = make_job(owner=alice, flavor="cpu-2").current_run
    small = make_job(owner=bob).current_run
    place_runs()
    assert placed(large, small) == [None, None]


def test_a_run_that_no_node_could_ever_hold_blocks_nobody(alice, bob):
    make_node(cores=2)
    gpu = make_job(owner=alice, flavor="gpu-1").current_run
    small = make_job(owner=bob).current_run
    place_runs()
    assert placed(gpu, small) == [None, "lab-1"]
    assert "can hold" in gpu.message


def test_a_run_leaves_a_node_that_went_away_before_it_claimed(alice):
    first = make_node("lab-1")
    run = make_job(owner=alice).current_run
    place_runs()
    old_token = make_run_token(Run.objects.get(pk=run.pk))
    Node.objects.filter(pk=first.pk).update(last_seen_at=timezone.now() - timedelta(minutes=1))
    make_node("lab-2")
    place_runs()
    assert placed(run) == ["lab-2"]
    with pytest.raises(BadRunToken):
        read_run_token(old_token)


def test_a_node_that_lost_its_run_and_comes_back_starts_nothing(alice):
    node = make_node("lab-1")
    run = make_job(owner=alice).current_run
    place_runs()
    old = Run.objects.get(pk=run.pk)
    Node.objects.filter(pk=node.pk).update(last_seen_at=timezone.now() - timedelta(minutes=1))
    place_runs()
    assert placed(run) == [None]
    assert not claim_run(run=run, placement_number=old.placement_number).start
    assert not claim_run(run=run, placement_number=run.placement_number).start
    Node.objects.filter(pk=node.pk).update(last_seen_at=timezone.now())
    place_runs()
    assert placed(run) == ["lab-1"]
    assert not claim_run(run=run, placement_number=old.placement_number).start
    assert claim_run(run=run, placement_number=run.placement_number).start


def test_a_run_leaves_a_node_that_does_not_answer_where_there_is_another(alice):
    make_node("lab-1")
    run = make_job(owner=alice).current_run
    place_runs()
    make_node("lab-2")
    Run.objects.filter(pk=run.pk).update(placed_at=timezone.now() - timedelta(minutes=2))
    place_runs()
    assert placed(run) == ["lab-2"]


def test_a_resumed_run_goes_to_the_node_that_has_its_checkpoint(alice):
    make_node("lab-1")
    home = make_node("lab-2", cores=8)
    ended = {"status": "stopped", "reason": "stopped_by_owner", "ended_at": timezone.now()}
    job = make_job(owner=alice, node=home, **ended)
    again = make_run(job, resume_run=job.current_run)
    place_runs()
    assert placed(again) == ["lab-2"]


def test_an_order_is_sent_once_and_again_when_nobody_claims(alice, broker):
    make_node()
    run = make_job(owner=alice).current_run
    place_runs()
    assert (send_orders(broker), send_orders(broker)) == (1, 0)
    Run.objects.filter(pk=run.pk).update(order_sent_at=timezone.now() - timedelta(seconds=6))
    assert send_orders(broker) == 1
    assert count_orders(broker, "lab-1") == 2


def test_a_run_that_the_studio_cannot_read_any_more_ends_and_holds_up_nobody(alice, bob, broker):
    make_node()
    old, fresh = make_job(owner=alice), make_job(owner=bob)
    old.spec |= {"was_taken_away": 1}
    old.save()
    place_runs()
    assert send_orders(broker) == 1
    run = Run.objects.get(pk=old.current_run.pk)
    assert (run.status, run.reason) == ("failed", "bad_spec")
    assert "spec.was_taken_away" in run.message
    assert Run.objects.get(pk=fresh.current_run.pk).num_orders == 1


def test_with_the_broker_away_the_order_is_still_due(alice):
    away = Celery("away", broker="redis://127.0.0.1:1/0")
    away.conf.broker_transport_options = studio_app.conf.broker_transport_options
    make_node()
    run = make_job(owner=alice).current_run
    place_runs()
    assert send_orders(away) == 0
    run.refresh_from_db()
    assert run.order_sent_at is None


def test_the_order_carries_pinned_refs_and_a_token_of_the_run(alice):
    make_node()
    job = make_job(owner=alice)
    job.resolved = {"model": "athanor/tiny@" + "a" * 40, "dataset": "athanor/guide@" + "b" * 40}
    job.save()
    place_runs()
    run = Run.objects.get(pk=job.current_run.pk)
    order = make_order(run)
    assert order.spec.model == "athanor/tiny@" + "a" * 40
    assert order.push_to == "alice/tuned"
    assert read_run_token(order.run_token) == run
    assert order.expires_at > order.issued_at


def test_a_forged_token_speaks_for_no_run(alice):
    run = make_job(owner=alice).current_run
    for forged in ("run_", "run_x", make_run_token(run)[:-1] + "?", f"run_{run.pk.hex}.0:abc"):
        with pytest.raises(BadRunToken):
            read_run_token(forged)
