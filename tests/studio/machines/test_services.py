"""What becomes of machines by what people ask, what nodes say, and what does not happen."""

import json
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.celery import app
from studio.compute.models import Flavor, Node
from studio.core.errors import BadInput, Conflict, NotFound
from studio.jobs.scheduler import place_runs
from studio.machines import services
from studio.machines.charging import charge_leases, get_cost_mpoints, get_ends_at
from studio.machines.models import Audience, Image, Lease, Machine, Reason, Status
from studio.machines.orders import list_orders
from studio.machines.placing import place_machines
from studio.machines.selectors import find_machine, may_open
from studio.machines.tending import tend_machines
from studio.machines.waits import estimate_waits
from studio.points.models import PointAccount
from studio.points.selectors import get_balance, get_run_cost, get_run_hold, sum_entries
from studio.points.services import PointsExhausted
from tests.factories import make_job, make_node
from tests.studio.machines.conftest import have_engine, make_machine, make_running, tell
from workers.machines.orders import MachinePhase

pytestmark = pytest.mark.django_db
RUNNING, STOPPED, ABSENT = MachinePhase.RUNNING, MachinePhase.STOPPED, MachinePhase.ABSENT


def again(machine: Machine) -> Machine:
    return Machine.objects.get(pk=machine.pk)


def test_a_machine_is_made_placed_ordered_and_runs(rich, node):
    rich.language = "zh"
    rich.save()
    machine = make_machine(rich)
    assert machine.status == Status.QUEUED
    assert get_run_hold(machine.lease_id) == 30_000
    assert place_machines() == 1
    (order,) = list_orders(node)
    assert (order.machine, order.is_running, order.image) == (machine.key, True, "sha256:abc")
    assert order.home == str(rich.pk)
    assert order.environment["HF_ENDPOINT"] == "http://169.254.86.1:8600"
    assert set(order.secrets) == {"token", "gateway_key.pub", "machine.json"}
    assert json.loads(order.secrets["machine.json"])["language"] == rich.language == "zh"
    assert not any(order.secrets["token"] in value for value in order.environment.values())
    assert tell(machine, node, RUNNING).status == Status.RUNNING


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Box"}, "name"),
        ({"name": "-box"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "b" * 40}, "name"),
        ({"name": "开发机"}, "name"),
        ({"image": "none"}, "image"),
        ({"flavor": "none"}, "flavor"),
        ({"duration_s": 10}, "duration_s"),
        ({"duration_s": 10**9}, "duration_s"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_its_field_and_costs_nothing(rich, node, change, field):
    wish = services.Wish(**({"name": "box", "image": "base", "flavor": "cpu-1"} | change))
    with pytest.raises(BadInput) as refusal:
        services.create_machine(owner=rich, wish=wish)
    assert refusal.value.field == field
    assert refusal.value.message.startswith(f"{field}:")
    assert not Machine.objects.exists()
    assert get_balance(rich).held_mpoints == 0


def test_without_points_nothing_is_made(alice, image, node):
    with pytest.raises(PointsExhausted):
        make_machine(alice)
    assert not Machine.objects.exists() and not Lease.objects.exists()


def test_two_of_one_name_are_not_made_and_the_second_costs_nothing(rich, node):
    make_machine(rich)
    with pytest.raises(Conflict, match="you have a machine called box"):
        make_machine(rich)
    assert get_balance(rich).held_mpoints == 30_000


def test_another_person_may_use_the_same_name(rich, bob, node):
    services_hold(bob)
    make_machine(rich)
    assert make_machine(bob).name == "box"


def services_hold(user, mpoints=1_000_000):
    from studio.points.services import grant_points

    grant_points(by=None, to=user, mpoints=mpoints, note="", key=f"for-{user.pk}-{mpoints}")


def test_time_is_paid_that_the_node_has_shown_and_no_other(rich, node):
    begun = timezone.now()
    with time_machine.travel(begun, tick=False) as clock:
        machine = make_running(rich, node)
        for _ in range(60):
            clock.shift(5)
            machine = tell(machine, node, RUNNING)
        assert machine.lease.used_s == 300
        clock.shift(3000)  # the node was away: at most ten seconds of it are paid
        machine = tell(machine, node, RUNNING)
        assert machine.lease.used_s == 310
        assert charge_leases() == []  # and writes nothing yet: ten minutes are not used
        assert get_run_cost(machine.lease_id) == 0
        assert get_cost_mpoints(machine.lease) == 310 * 30_000 // 3600
        assert get_ends_at(machine.lease) == timezone.now() + timedelta(seconds=3600 - 310)
        services.delete_machine(by=rich, machine=machine)
        assert get_run_cost(machine.lease_id) == 310 * 30_000 // 3600


def test_at_the_end_of_its_time_it_is_stopped_and_the_rest_given_back(rich, node):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        machine = make_running(rich, node)
        for _ in range(360):
            clock.shift(10)
            machine = tell(machine, node, RUNNING)
        services.end_due()
        assert again(machine).status == Status.STOPPING
        clock.shift(3)
        machine = tell(machine, node, STOPPED, exit_code=0)
    assert (machine.status, machine.reason) == (Status.STOPPED, Reason.TIME_UP)
    assert get_run_cost(machine.lease_id) == 30_000
    assert get_run_hold(machine.lease_id) == 0
    assert get_balance(rich) == sum_entries(rich)


def test_extending_holds_more_and_moves_the_end(rich, node):
    machine = make_running(rich, node)
    services.extend_machine(by=rich, machine=machine, duration_s=1800)
    services.extend_machine(by=rich, machine=machine, duration_s=1800)
    lease = again(machine).lease
    assert lease.granted_s == 7200
    assert get_run_hold(lease.pk) == 60_000
    with pytest.raises(BadInput, match="duration_s"):
        services.extend_machine(by=rich, machine=machine, duration_s=services.MOST_S)


def test_an_extension_that_cannot_be_paid_changes_nothing(rich, node):
    machine = make_running(rich, node, hours=30)
    with pytest.raises(PointsExhausted):
        services.extend_machine(by=rich, machine=machine, duration_s=10 * 3600)
    lease = again(machine).lease
    assert (lease.granted_s, lease.num_parts) == (30 * 3600, 1)


def test_stop_and_start_again_keep_its_node_and_container(rich, node):
    machine = make_running(rich, node)
    services.stop_machine(by=rich, machine=machine)
    assert not list_orders(node)[0].is_running
    machine = tell(machine, node, STOPPED)
    assert (machine.status, machine.reason) == (Status.STOPPED, Reason.STOPPED_BY_OWNER)
    services.start_machine(by=rich, machine=machine)
    assert not list_orders(node)[0].is_running  # while it waits its container is kept
    place_machines()
    (order,) = list_orders(node)
    assert (order.life, order.start, order.is_running) == (1, 2, True)
    machine = tell(machine, node, STOPPED, start=1)  # the node has not done the new start yet
    assert machine.status == Status.STARTING
    assert tell(machine, node, RUNNING).status == Status.RUNNING


def test_a_restart_keeps_place_and_lease(rich, node):
    machine = make_running(rich, node)
    lease = machine.lease_id
    services.restart_machine(by=rich, machine=machine)
    assert not list_orders(node)[0].is_running
    machine = tell(machine, node, STOPPED)
    assert (machine.status, machine.start, machine.lease_id) == (Status.STARTING, 2, lease)
    assert tell(machine, node, RUNNING).status == Status.RUNNING


def test_a_stop_while_it_restarts_wins(rich, node):
    machine = make_running(rich, node)
    services.restart_machine(by=rich, machine=machine)
    services.stop_machine(by=rich, machine=machine)
    assert tell(machine, node, STOPPED).status == Status.STOPPED


@pytest.mark.parametrize(
    ("phase", "facts", "reason"),
    [
        (STOPPED, {"exit_code": 137, "was_out_of_memory": True}, Reason.OUT_OF_MEMORY),
        (STOPPED, {"exit_code": 1}, Reason.ENDED_BY_ITSELF),
        (ABSENT, {}, Reason.CONTAINER_GONE),
    ],
)
def test_what_happens_to_its_container_is_told_with_its_reason(rich, node, phase, facts, reason):
    machine = tell(make_running(rich, node), node, phase, **facts)
    assert (machine.status, machine.reason) == (Status.STOPPED, reason)
    assert machine.message and get_run_hold(machine.lease_id) == 0


def test_a_container_that_was_removed_is_made_anew_by_the_next_start(rich, node):
    machine = tell(make_running(rich, node), node, ABSENT)
    services.start_machine(by=rich, machine=machine)
    place_machines()
    assert again(machine).life == 2


def test_a_reset_makes_it_anew_anywhere(rich, node):
    machine = make_running(rich, node)
    with pytest.raises(Conflict, match="stop it first"):
        services.reset_machine(by=rich, machine=machine)
    services.stop_machine(by=rich, machine=machine)
    machine = tell(machine, node, STOPPED)
    services.reset_machine(by=rich, machine=machine)
    assert again(machine).life == 2
    assert list_orders(node) == []  # the old container goes


def test_a_change_of_flavor_needs_one_its_image_runs_on(rich, node, image):
    machine = make_running(rich, node)
    services.stop_machine(by=rich, machine=machine)
    tell(machine, node, STOPPED)
    image.flavors.set(Flavor.objects.filter(name="cpu-1"))
    with pytest.raises(BadInput, match="does not run on cpu-2"):
        services.change_machine(by=rich, machine=machine, flavor="cpu-2")
    image.flavors.clear()
    assert services.change_machine(by=rich, machine=machine, flavor="cpu-2").flavor.cores == 2


def test_a_deleted_machine_holds_its_place_until_its_container_is_gone(rich, node):
    machine = make_running(rich, node)
    services.delete_machine(by=rich, machine=machine)
    assert list_orders(node) == []
    assert again(machine).status == Status.DELETING
    assert tell(machine, node, RUNNING).status == Status.DELETING
    assert tell(machine, node, None).status == Status.DELETED
    assert get_run_hold(machine.lease_id) == 0
    assert make_machine(rich).name == "box"


def test_create_then_delete_at_once_leaves_nothing(rich, node):
    machine = make_machine(rich)
    services.delete_machine(by=rich, machine=machine)
    assert again(machine).status == Status.DELETED
    assert place_machines() == 0
    assert get_balance(rich).held_mpoints == 0


def test_a_node_that_is_silent_is_said_and_then_its_machine_is_lost_at_its_cost(rich, node):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        machine = make_running(rich, node)
        tend_machines()
        clock.shift(15)
        tend_machines()
        assert "does not answer" in again(machine).message
        for _ in range(90):
            assert again(machine).status == Status.RUNNING
            clock.shift(20)
            tend_machines()
        machine = again(machine)
        assert (machine.status, machine.reason) == (Status.STOPPED, Reason.NODE_LOST)
        assert get_cost_mpoints(machine.lease) == 0
        assert not list_orders(node)[0].is_running  # it is ended when the node is back


@pytest.mark.parametrize("first_s", [0.1, 1.5, 2.9, 3.9])
def test_a_silence_is_told_within_fifteen_seconds_wherever_the_looks_fall(rich, node, first_s):
    every_s = app.conf.beat_schedule["tend-machines"]["schedule"]
    with time_machine.travel(timezone.now(), tick=False) as clock:
        machine, silent_s = make_running(rich, node), first_s
        tend_machines()
        clock.shift(first_s)
        tend_machines()
        while silent_s + every_s <= 15:
            silent_s += every_s
            clock.shift(every_s)
            tend_machines()
        assert "does not answer" in again(machine).message


def test_a_studio_that_was_away_hears_its_nodes_before_it_ends_their_machines(rich, node):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        machine = make_running(rich, node)
        tend_machines()
        clock.shift(24 * 3600)
        tend_machines()
        clock.shift(5)
        tend_machines()
        assert (again(machine).status, again(machine).message) == (Status.RUNNING, "")
        machine = tell(machine, node, RUNNING)
        assert machine.status == Status.RUNNING
        assert list_orders(node)[0].is_running


def test_an_engine_that_is_away_says_nothing_of_machines(rich, node):
    machine = make_running(rich, node)
    from studio.machines.reports import take_report
    from workers.machines.orders import MachineReport

    take_report(node=node, report=MachineReport(engine="", problem="away", machines=[]))
    assert again(machine).status == Status.RUNNING


def test_a_start_that_does_not_come_ends_with_what_the_node_says(rich, node):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        machine = make_machine(rich)
        place_machines()
        told = "The image sha256:abc is not on this node: build or pull it there."
        machine = tell(machine, node, MachinePhase.FAILED, message=told)
        assert (machine.status, machine.message) == (Status.STARTING, told)
        for _ in range(100):
            clock.shift(10)
            machine = tell(machine, node, MachinePhase.FAILED, message=told)
        tend_machines()
    machine = again(machine)
    assert (machine.reason, machine.message) == (Reason.START_FAILED, told)
    assert get_balance(rich).held_mpoints == 0


def test_a_machine_that_no_node_had_room_for_in_a_week_stops(rich, node):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        machine = make_machine(rich)
        clock.shift(timedelta(days=7))
        tend_machines()
        assert again(machine).status == Status.QUEUED
        clock.shift(1)
        tend_machines()
    machine = again(machine)
    assert (machine.status, machine.reason) == (Status.STOPPED, Reason.START_FAILED)
    assert "within 7 days" in machine.message
    assert get_balance(rich).held_mpoints == 0


def test_machines_and_jobs_share_a_node_without_overlap(rich, node):
    make_machine(rich, "one", flavor="cpu-2")
    make_machine(rich, "two", flavor="cpu-2")
    place_machines()
    make_job(owner=rich)
    assert place_runs() == 0  # four cores are taken
    three = make_machine(rich, "three")
    assert place_machines() == 0
    assert "busy" in again(three).message
    assert list(estimate_waits()) == [three.pk]


def test_shares_of_a_gpu_fill_one_before_the_next(rich, node):
    Node.objects.all().delete()
    big = make_node("gpu", cores=32, memory_gib=512, num_devices=2)
    have_engine(big)
    for name, flavor in [("a", "gpu-50p"), ("b", "gpu-30p"), ("c", "gpu-1"), ("d", "gpu-10p")]:
        make_machine(rich, name, flavor=flavor)
    assert place_machines() == 4
    given = dict(Machine.objects.values_list("name", "device_indexes"))
    assert given["a"] == given["b"] == given["d"] != given["c"]
    make_machine(rich, "e", flavor="gpu-30p")
    assert place_machines() == 0  # ten percent are left
    (order,) = [each for each in list_orders(big) if each.hostname == "d"]
    assert order.device_percent == 10 and len(order.devices) == 1


def test_nothing_new_comes_to_a_cordoned_node(rich, node):
    Node.objects.update(is_cordoned=True)
    make_machine(rich)
    assert place_machines() == 0


def test_a_flavor_that_no_node_could_hold_is_refused_before_it_costs(rich, node):
    with pytest.raises(BadInput, match="no node has room"):
        make_machine(rich, flavor="gpu-1")


def test_an_owner_with_fewer_machines_goes_first(rich, bob, node):
    services_hold(bob)
    make_running(rich, node, "first")
    make_machine(rich, "second", flavor="cpu-2")
    make_machine(bob, "bobs", flavor="cpu-2")
    assert place_machines() == 1
    assert Machine.objects.get(name="bobs").status == Status.STARTING


def test_strangers_and_operators(rich, bob, olga, node):
    machine = make_running(rich, node)
    with pytest.raises(NotFound):
        find_machine(bob, machine.key)
    with pytest.raises(NotFound):
        find_machine(olga, machine.name)  # a name is one's own
    for deed in (services.stop_machine, services.delete_machine, services.restart_machine):
        with pytest.raises(NotFound):
            deed(by=bob, machine=machine)
    with pytest.raises(NotFound):
        services.restart_machine(by=olga, machine=machine)
    services.stop_machine(by=olga, machine=find_machine(olga, machine.key))
    machine = tell(machine, node, STOPPED)
    assert machine.reason == Reason.STOPPED_BY_OPERATOR
    assert not may_open(olga, machine, 8080)


def test_who_may_open_a_port(rich, bob, carol, olga, node):
    from studio.accounts.organizations import create_organization, set_member

    machine = make_running(rich, node)
    create_organization(by=olga, name="course")
    from studio.accounts.models import Organization

    course = Organization.objects.get(name="course")
    for person in (rich, bob):
        set_member(by=olga, organization=course, username=person.username, role="member")
    people = {"rich": rich, "bob": bob, "carol": carol, "olga": olga, "nobody": None}

    def who() -> set[str]:
        return {name for name, person in people.items() if may_open(person, machine, 7860)}

    def publish(audience, until=None):
        services.publish_port(by=rich, machine=machine, port=7860, audience=audience, until=until)

    assert who() == {"rich"}
    publish(Audience.CLASS)
    assert who() == {"rich", "bob", "olga"}
    publish(Audience.PUBLIC, timezone.now() + timedelta(hours=1))
    assert who() == set(people)
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        assert who() == {"rich"}
    services.unpublish_port(by=rich, machine=machine, port=7860)
    assert who() == {"rich"}


@pytest.mark.parametrize("port", [0, 22, 65536])
def test_a_port_that_cannot_be_published(rich, node, port):
    machine = make_running(rich, node)
    with pytest.raises(BadInput, match="port"):
        services.publish_port(
            by=rich, machine=machine, port=port, audience=Audience.PUBLIC, until=None
        )


DEEDS = st.sampled_from(
    ["start", "stop", "restart", "extend", "reset", "place", "run", "end", "gone", "tend", "wait"]
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(deeds=st.lists(DEEDS, max_size=25))
def test_whatever_happens_no_points_are_lost_or_made(rich, node, deeds):
    Machine.objects.update(lease=None)
    Lease.objects.all().delete()
    Machine.objects.all().delete()
    begun = get_balance(rich).total
    with time_machine.travel(timezone.now(), tick=False) as clock:
        machine = make_machine(rich)
        for deed in deeds:
            clock.shift(7)
            have_engine(node)
            Node.objects.update(last_seen_at=timezone.now())
            _do(deed, rich, machine, node)
        services.delete_machine(by=rich, machine=again(machine))
    paid = sum(get_run_cost(lease.pk) for lease in Lease.objects.all())
    used = sum(get_cost_mpoints(lease) for lease in Lease.objects.all())
    assert paid == used
    assert get_balance(rich).held_mpoints == 0
    assert get_balance(rich).available_mpoints == begun - paid
    assert get_balance(rich) == sum_entries(rich)
    assert PointAccount.objects.filter(user=rich, balance__lt=0).count() == 0


def _do(deed: str, owner, machine: Machine, node) -> None:
    machine = again(machine)
    try:
        if deed in {"run", "end", "gone"}:
            tell(machine, node, {"run": RUNNING, "end": STOPPED, "gone": ABSENT}[deed])
        elif deed == "place":
            place_machines()
        elif deed == "tend":
            charge_leases()
            services.end_due()
            tend_machines()
        elif deed == "extend":
            services.extend_machine(by=owner, machine=machine, duration_s=900)
        elif deed != "wait":
            getattr(services, f"{deed}_machine")(by=owner, machine=machine)
    except (Conflict, PointsExhausted):
        pass


def test_an_image_that_is_no_longer_offered_starts_no_new_machine(rich, node):
    Image.objects.update(is_active=False)
    with pytest.raises(BadInput, match="image"):
        make_machine(rich)
