"""The idle rule at work: what is gathered, when it stops a machine, and how its owner keeps it."""

import asyncio
import time
import uuid
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from studio.core.errors import BadInput, Conflict, NotFound
from studio.machines import idling, moments
from studio.machines.idle import Sign
from studio.machines.idling import judge_machines, keep_machine, show_idle
from studio.machines.models import Activity, Image, Machine, Reason, Status
from studio.machines.orders import list_orders
from studio.machines.placing import place_machines
from studio.machines.services import start_machine, stop_machine
from studio.points.services import grant_points
from tests.studio.machines.conftest import make_running, tell
from workers.machines.measures import MachineSigns, MachineUsage
from workers.machines.orders import MachinePhase

pytestmark = pytest.mark.django_db
GIB = 2**30
QUIET = MachineSigns(
    cores_lately=0.02, gpu_busy_lately=0, is_kernel_busy=False, terminal_at=0, num_runs=0
)


@pytest.fixture(autouse=True)
def anew():
    moments.forget_notes()


@pytest.fixture
def box(rich, node) -> Machine:
    return make_running(rich, node)


def hear(machine: Machine, ago_s: float = 0, **changes) -> None:
    """Have its node tell that nothing goes on in the machine, but for the changes."""
    usage = MachineUsage(
        taken_at=time.time(),
        cores_limit=changes.pop("cores_limit", 2),
        memory_limit_bytes=GIB,
        signs=QUIET.model_copy(update=changes),
    )
    moments.keep_live({machine.key: usage})


def look(machine: Machine, *, after_s: float = 0) -> Machine:
    """Have the rule look, as if some time had passed since everything that is known."""
    if after_s:
        back = timedelta(seconds=after_s)
        machine.refresh_from_db()
        Machine.objects.filter(pk=machine.pk).update(status_since=machine.status_since - back)
        for known in Activity.objects.filter(machine=machine):
            kept = known.kept_until and known.kept_until - back
            Activity.objects.filter(pk=known.pk).update(
                active_at=known.active_at - back, kept_until=kept
            )
    cache.set("machines-looked-at", 1, 60)
    judge_machines()
    return Machine.objects.select_related("image", "activity", "lease").get(pk=machine.pk)


def test_a_machine_that_nothing_uses_is_warned_of_and_stopped_with_the_reason(box, node):
    hear(box)
    seen = look(box, after_s=600)
    shown = show_idle(seen)
    assert (shown["state"], shown["sign"], shown["idle_s"]) == ("idle", "started", 3600)
    assert shown["stops_at"] == shown["active_at"] + timedelta(hours=1)
    idle_at = list_orders(node)[0].secrets["machine.json"]
    assert f'"idle_at": {round(shown["stops_at"].timestamp() / 10) * 10}' in idle_at
    seen = look(box, after_s=3000)
    assert (seen.status, seen.reason) == (Status.STOPPING, Reason.IDLE)
    seen = tell(box, node, MachinePhase.STOPPED)
    assert (seen.status, seen.reason) == (Status.STOPPED, Reason.IDLE)
    since = shown["active_at"] - timedelta(seconds=3000)
    assert seen.message.startswith(f"Nothing was connected since {since:%H:%M} UTC")
    assert show_idle(seen)["active_at"] == since


@pytest.mark.parametrize(
    ("said", "sign"),
    [
        ({"num_runs": 1}, Sign.RUN),
        ({"is_kernel_busy": True}, Sign.KERNEL),
        ({"gpu_busy_lately": 0.5}, Sign.GPU),
        ({"cores_lately": 0.9}, Sign.CPU),
        ({"cores_lately": 0.2, "cores_limit": 0.25}, Sign.CPU),
        ({"terminal_at": "soon"}, Sign.TERMINAL),
        ({"is_kernel_busy": None}, Sign.UNKNOWN),
        ({"cores_lately": None}, Sign.UNKNOWN),
        ({"terminal_at": None}, Sign.UNKNOWN),
    ],
)
def test_a_machine_that_something_uses_goes_on(box, said, sign):
    if said.get("terminal_at") == "soon":  # by the clock of this test, not of its collection
        said = {"terminal_at": time.time() + 9}
    hear(box, **said)
    seen = look(box, after_s=2 * 3600)
    assert seen.status == Status.RUNNING
    assert show_idle(seen)["state"] == "active"
    assert seen.activity.sign == sign


def test_a_node_that_is_silent_never_has_a_machine_stopped(box):
    seen = look(box, after_s=2 * 3600)
    assert (seen.status, seen.activity.sign) == (Status.RUNNING, Sign.UNKNOWN)


def test_a_studio_that_did_not_look_for_a_while_begins_to_count_anew(box):
    hear(box)
    look(box, after_s=2000)
    cache.delete("machines-looked-at")
    Machine.objects.update(status_since=timezone.now() - timedelta(hours=3))
    judge_machines()
    assert Activity.objects.get().sign == Sign.UNKNOWN
    assert Machine.objects.get().status == Status.RUNNING


@pytest.mark.parametrize("way", ["browser", "ssh"])
def test_who_is_connected_keeps_it_going(box, way):
    hear(box)
    asyncio.run(moments.note_presence(box.key, way))
    assert moments.read_presence([box.key])[box.key].keys() == {way}
    seen = look(box, after_s=2 * 3600)
    assert (seen.status, seen.activity.sign) == (Status.RUNNING, way)


def test_who_comes_in_the_last_moment_is_not_thrown_out(box, monkeypatch):
    hear(box)
    stop = idling._stop_idle

    def come_then_stop(pk):
        hear(box, num_runs=1)
        stop(pk)

    monkeypatch.setattr(idling, "_stop_idle", come_then_stop)
    assert look(box, after_s=2 * 3600).status == Status.RUNNING


def test_its_owner_keeps_it_for_some_time_within_its_lease(box, rich):
    hear(box)
    keep_machine(by=rich, machine=box, duration_s=20 * 3600)
    seen = look(box)
    shown = show_idle(seen)
    assert (shown["state"], shown["sign"]) == ("active", "kept")
    assert abs(shown["kept_until"] - timezone.now() - timedelta(hours=1)) < timedelta(seconds=30)
    keep_machine(by=rich, machine=box, duration_s=600)
    seen = look(box, after_s=500)
    assert show_idle(seen)["state"] == "active"
    seen = look(box, after_s=300)
    assert show_idle(seen)["state"] == "idle" and show_idle(seen)["kept_until"] is None
    keep_machine(by=rich, machine=box, duration_s=0)
    assert Activity.objects.get().kept_until is None


def test_nobody_else_keeps_it_and_nothing_that_does_not_run_is_kept(box, rich, carol, olga):
    for other in (carol, olga):
        with pytest.raises(NotFound):
            keep_machine(by=other, machine=box, duration_s=600)
    with pytest.raises(BadInput):
        keep_machine(by=rich, machine=box, duration_s=24 * 3600 + 1)
    stop_machine(by=rich, machine=box)
    with pytest.raises(Conflict):
        keep_machine(by=rich, machine=box, duration_s=600)


def test_an_image_may_have_a_time_of_its_own_or_none(box, settings):
    hear(box)
    Image.objects.update(idle_s=0)
    seen = look(box, after_s=9 * 3600)
    assert seen.status == Status.RUNNING and show_idle(seen)["state"] == "off"
    Image.objects.update(idle_s=None)
    settings.MACHINE_IDLE_S = 0
    assert look(box, after_s=9 * 3600).status == Status.RUNNING
    Image.objects.update(idle_s=60)
    assert look(box, after_s=9 * 3600).reason == Reason.IDLE


def test_what_it_did_before_it_was_started_again_does_not_count(box, rich, node):
    hear(box)
    look(box, after_s=2 * 3600)
    tell(box, node, MachinePhase.STOPPED)
    start_machine(by=rich, machine=box, duration_s=3600)
    place_machines()
    tell(box, node, MachinePhase.RUNNING)
    seen = look(box)
    assert seen.status == Status.RUNNING
    assert (show_idle(seen)["state"], show_idle(seen)["sign"]) == ("active", "started")


def test_many_machines_cost_few_statements(rich, node, django_assert_max_num_queries):
    grant_points(by=None, to=rich, mpoints=10**9, note="", key="more")
    make_running(rich, node)
    template = Machine.objects.get()
    for number in range(60):
        template.key, template.name = f"k{number}", f"n{number}"
        template.pk = uuid.uuid4()
        template.lease = None
        template.save(force_insert=True)
    for machine in Machine.objects.all():
        hear(machine, num_runs=1)
    with django_assert_max_num_queries(5):
        judge_machines()
    assert Activity.objects.count() == 61


def test_a_redis_that_is_away_stops_nothing(box, settings):
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "unix:///nowhere/redis.sock",
        }
    }
    hear(box)
    asyncio.run(moments.note_presence(box.key, "ssh"))
    assert moments.read_presence([box.key]) == {} and not moments.take_look()
    Machine.objects.update(status_since=timezone.now() - timedelta(hours=3))
    judge_machines()
    assert Machine.objects.get().status == Status.RUNNING
