"""Placing anything anywhere: no device is given twice over, and the large ones get their turn.

What is free is counted here a second time, from the rows alone. The devices are mock ones.
"""

from collections import Counter
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.compute.models import Flavor, Node
from studio.compute.rooms import Room
from studio.jobs.models import LIVE, Run
from studio.jobs.scheduler import place_runs
from studio.machines.models import HOLDS_NODE, Image, Machine, Status
from studio.machines.placing import place_machines
from tests.factories import make_job, make_node, make_user
from tests.studio.machines.conftest import have_engine
from workers.machines.orders import MOCK_DEVICE

GIB = 2**30
SHARES = ["gpu-10p", "gpu-30p", "gpu-50p"]
SHAPES = st.sampled_from([(1, 10), (1, 30), (1, 50), (1, 70), (1, 100), (2, 100), (3, 100)])


def make_mock_node(name: str, num_devices: int, *, cores: int = 16) -> Node:
    node = make_node(name, cores=cores, memory_gib=256)
    node.devices = [
        {"index": i, "name": "Mock GPU", "memory_bytes": 80 * GIB, "uuid": f"{MOCK_DEVICE}{i}"}
        for i in range(num_devices)
    ]
    node.save()
    have_engine(node)
    return node


@given(
    num_devices=st.integers(1, 4),
    deeds=st.lists(st.tuples(SHAPES, st.booleans()), max_size=40),
)
def test_a_room_never_gives_more_of_a_device_than_there_is(num_devices, deeds):
    node = Node(
        cores=999, memory_bytes=999 * GIB, devices=[{"index": i} for i in range(num_devices)]
    )
    held: list[tuple[Flavor, list[int]]] = []
    for (count, percent), leaves in deeds:
        if leaves and held:
            held.pop(0)
        room = Room.of(node)
        for flavor, indexes in held:
            room.take(flavor, indexes)
        used = Counter(
            i for flavor, indexes in held for i in indexes for _ in range(flavor.device_percent)
        )
        flavor = Flavor(cores=1, memory_bytes=GIB, num_devices=count, device_percent=percent)
        free = [i for i in range(num_devices) if used[i] + percent <= 100]
        assert room.fits(flavor) == (len(free) >= count)
        if room.fits(flavor):
            given_indexes = room.choose_devices(flavor)
            assert len(set(given_indexes)) == count and set(given_indexes) <= set(free)
            held.append((flavor, given_indexes))


@pytest.fixture
def house(db):
    """Two nodes of mock GPUs, people, and flavors of every sort."""
    shapes = [("gpu-2", 2, 100), ("gpu-3", 3, 100)]
    for name, count, percent in shapes:
        Flavor.objects.create(
            name=name,
            title=name,
            cores=2,
            memory_bytes=8 * GIB,
            num_devices=count,
            device_percent=percent,
            price_mpoints_per_hour=1,
        )
    Flavor.objects.filter(name="gpu-1").update(cores=2, memory_bytes=8 * GIB)
    Image.objects.create(name="base", title="Base", reference="sha256:" + "a" * 64)
    make_mock_node("n1", 3)
    make_mock_node("n2", 1, cores=6)
    return [make_user("alice"), make_user("bob")]


def add_machine(owner, flavor: str, *, age_s: float = 0) -> Machine:
    now = timezone.now() - timedelta(seconds=age_s)
    return Machine.objects.create(
        owner=owner,
        name=f"m{Machine.objects.count()}",
        image=Image.objects.get(),
        flavor=Flavor.objects.get(name=flavor),
        status_since=now,
        created_at=now,
    )


def add_run(owner, flavor: str, *, age_s: float = 0) -> Run:
    run = make_job(owner=owner, flavor=flavor).current_run
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(seconds=age_s))
    return run


def check_nothing_is_given_twice() -> None:
    machines = Machine.objects.filter(status__in=HOLDS_NODE).select_related("flavor", "node")
    runs = Run.objects.filter(status__in=LIVE, node__isnull=False)
    held = [(machine, machine.flavor) for machine in machines]
    held += [(run, run.job.flavor) for run in runs.select_related("job__flavor", "node")]
    percent, cores = Counter(), Counter()
    for each, flavor in held:
        assert len(set(each.device_indexes)) == flavor.num_devices
        cores[each.node.name] += flavor.cores
        for index in each.device_indexes:
            percent[each.node.name, index] += flavor.device_percent
    sizes = {node.name: (node.cores, len(node.devices)) for node in Node.objects.all()}
    assert all(cores[name] <= size for name, (size, _) in sizes.items()), cores
    assert all(value <= 100 and i < sizes[name][1] for (name, i), value in percent.items()), percent


def place_all() -> None:
    """Place, and fail where anything came to a node that is set aside."""
    before = {node.name: count_on(node) for node in Node.objects.filter(is_cordoned=True)}
    place_machines()
    place_runs()
    check_nothing_is_given_twice()
    for node in Node.objects.filter(is_cordoned=True):
        assert count_on(node) <= before[node.name]


def count_on(node: Node) -> int:
    machines = Machine.objects.filter(node=node, status__in=HOLDS_NODE).count()
    return machines + Run.objects.filter(node=node, status__in=LIVE).count()


def end_one(number: int) -> None:
    machines = list(Machine.objects.filter(status__in=HOLDS_NODE).order_by("pk"))
    runs = list(Run.objects.filter(status__in=LIVE, node__isnull=False).order_by("pk"))
    going = [*machines, *runs]
    if not going:
        return
    ended = going[number % len(going)]
    if isinstance(ended, Machine):
        Machine.objects.filter(pk=ended.pk).update(status=Status.DELETED, device_indexes=[])
    else:
        now = timezone.now()
        Run.objects.filter(pk=ended.pk).update(
            status="succeeded", reason="completed", ended_at=now, claimed_at=now
        )


FLAVORS = st.sampled_from([*SHARES, "gpu-1", "gpu-2", "gpu-3", "cpu-1"])
WHOLE_ONES = st.sampled_from(["gpu-1", "gpu-2", "cpu-1"])
DEEDS = st.one_of(
    st.tuples(st.just("machine"), FLAVORS),
    st.tuples(st.just("run"), WHOLE_ONES),
    st.tuples(st.just("end"), st.integers(0, 20)),
    st.tuples(st.just("cordon"), st.sampled_from(["n1", "n2"])),
    st.tuples(st.just("uncordon"), st.sampled_from(["n1", "n2"])),
)


@given(deeds=st.lists(DEEDS, min_size=4, max_size=16))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_comes_goes_and_is_set_aside_nothing_is_given_twice(house, deeds):
    with transaction.atomic():
        for number, (deed, what) in enumerate(deeds):
            if deed == "machine":
                add_machine(house[number % 2], what)
            elif deed == "run":
                add_run(house[number % 2], what)
            elif deed == "end":
                end_one(what)
            else:
                Node.objects.filter(name=what).update(is_cordoned=deed == "cordon")
            place_all()
        transaction.set_rollback(True)


@pytest.mark.parametrize("small", ["machine", "run", "both"])
@pytest.mark.parametrize("large", ["machine", "run"])
def test_a_large_one_gets_its_turn_however_many_small_ones_come(house, small, large):
    alice, bob = house
    Node.objects.filter(name="n2").delete()

    def come(number: int) -> None:
        if small != "run" and number % 2 == 0 or small == "machine":
            add_machine(bob, "gpu-50p")
        else:
            add_run(bob, "gpu-1")

    for number in range(6):  # the node is full of small ones, and more of them wait
        come(number)
    place_all()
    big = (add_machine if large == "machine" else add_run)(alice, "gpu-3")
    for number in range(14):  # one ends, another comes
        end_one(0)
        come(number)
        place_all()
        big.refresh_from_db()
        if big.node_id is not None:
            break
    assert big.node_id is not None and len(big.device_indexes) == 3
