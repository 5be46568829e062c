"""What a machine's panel shows: what its node told, to whom, and for a day."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from studio.machines.models import Activity, Machine, UsageMinute
from studio.machines.orders import list_orders
from studio.machines.usage import KEPT_MINUTES, forget_old_minutes, keep_usage
from tests.factories import make_node
from tests.studio.machines.conftest import have_engine, make_machine, make_running
from workers.machines.measures import DeviceUsage, MachineUsage
from workers.machines.measures import UsageMinute as ToldMinute
from workers.machines.orders import MachinePhase, MachineReport, MachineState

pytestmark = pytest.mark.django_db
GIB = 2**30


@pytest.fixture
def box(rich, node) -> Machine:
    return make_running(rich, node)


def now_minute() -> int:
    return int(time.time() // 60)


def tell_use(node, machine, *, minutes=(), **facts) -> None:
    usage = MachineUsage(
        **{"taken_at": time.time(), "cores": 1.2, "cores_limit": 2, "memory_bytes": GIB}
        | {"memory_limit_bytes": 4 * GIB}
        | facts
    )
    state = MachineState(
        machine=machine.key,
        phase=MachinePhase.RUNNING,
        life=1,
        start=1,
        usage=usage,
        minutes=tuple(minutes),
    )
    keep_usage(node=node, report=MachineReport(engine="26", machines=[state]))


def test_the_panel_shows_what_the_node_told(box, node, rich, api):
    now = now_minute()
    minutes = [ToldMinute(minute=now - 2, cores=0.5), ToldMinute(minute=now - 1, memory_bytes=7)]
    mock = DeviceUsage(uuid="MOCK-0", is_mock=True)
    tell_use(node, box, minutes=minutes, devices=(mock,), layer_bytes=5)
    body = api(rich).get(f"/api/machines/{box.name}/usage/").json()
    live = body["live"]
    assert (live["cores"], live["cores_limit"], live["memory_limit_bytes"]) == (1.2, 2, 4 * GIB)
    assert live["layer_bytes"] == 5 and live["scratch_bytes"] is None
    assert live["devices"] == [
        {"uuid": "MOCK-0", "is_mock": True, "busy_ratio": None, "memory_bytes": None}
        | {"memory_limit_bytes": None}
    ]
    assert body["minutes"]["at"] == [(now - 2) * 60, (now - 1) * 60]
    assert body["minutes"]["cores"] == [0.5, None]
    assert body["minutes"]["memory_bytes"] == [None, 7]
    assert body["home_quota_bytes"] > 0 and body["device_percent"] is None
    since = datetime.fromtimestamp((now - 2) * 60, UTC).isoformat()
    body = api(rich).get(f"/api/machines/{box.key}/usage/", {"since": since}).json()
    assert body["minutes"]["at"] == [(now - 1) * 60]


def test_a_machine_of_which_nothing_was_told_says_so(box, rich, api):
    body = api(rich).get(f"/api/machines/{box.key}/usage/").json()
    assert body["live"] is None
    assert set(map(tuple, body["minutes"].values())) == {()}
    assert (body["cores_limit"], body["memory_limit_bytes"]) == (1, box.flavor.memory_bytes)


@pytest.mark.parametrize("who", ["carol", "bob"])
def test_a_stranger_learns_nothing_and_keeps_nothing(box, node, api, who, request):
    tell_use(node, box)
    client = api(request.getfixturevalue(who))
    for key in (box.key, box.name):
        assert client.get(f"/api/machines/{key}/usage/").status_code == 404
        kept = client.post(f"/api/machines/{key}/keep/", {"duration_s": 600}, format="json")
        assert kept.status_code == 404
    assert api().get(f"/api/machines/{box.key}/usage/").status_code in {401, 403}


def test_an_operator_sees_the_panel_and_keeps_nothing(box, node, olga, api):
    tell_use(node, box)
    assert api(olga).get(f"/api/machines/{box.key}/usage/").json()["live"]["cores"] == 1.2
    address = f"/api/machines/{box.key}/keep/"
    assert api(olga).post(address, {"duration_s": 600}, format="json").status_code == 404


def test_bad_times_are_named(box, rich, api):
    client = api(rich)
    answer = client.get(f"/api/machines/{box.key}/usage/", {"since": "yesterday"})
    assert answer.status_code == 400 and "since" in str(answer.json())
    address = f"/api/machines/{box.key}/keep/"
    for body in ({"duration_s": -1}, {"duration_s": "long"}, {}, {"duration_s": 10**6}):
        answer = client.post(address, body, format="json")
        assert answer.status_code == 400 and "duration_s" in str(answer.json()), body


def test_the_owner_keeps_it_and_the_page_says_until_when(box, rich, api):
    address = f"/api/machines/{box.key}/keep/"
    body = api(rich).post(address, {"duration_s": 1200}, format="json").json()
    assert body["idle"]["state"] == "active" and body["idle"]["sign"] == "kept"
    assert body["idle"]["kept_until"] is not None
    assert Activity.objects.get().kept_until is not None


def test_a_minute_told_twice_is_one_and_one_of_another_time_is_none(box, node):
    now = now_minute()
    wrong = [now - KEPT_MINUTES, now + 60]
    for _ in range(2):
        told = [ToldMinute(minute=minute, cores=1) for minute in [now - 1, *wrong]]
        tell_use(node, box, minutes=told)
    assert [row.minute for row in UsageMinute.objects.all()] == [now - 1]


def test_a_node_tells_nothing_of_machines_that_are_not_its_own(box, rich, api):
    other = make_node("n2", cores=4, memory_gib=16)
    have_engine(other)
    tell_use(other, box, minutes=[ToldMinute(minute=now_minute(), cores=1)])
    assert not UsageMinute.objects.exists()
    assert api(rich).get(f"/api/machines/{box.key}/usage/").json()["live"] is None


def test_minutes_are_gone_after_a_day(box):
    now = now_minute()
    for ago in (0, KEPT_MINUTES - 1, KEPT_MINUTES, 5 * KEPT_MINUTES):
        UsageMinute.objects.create(machine=box, minute=now - ago)
    assert forget_old_minutes() == 2
    assert UsageMinute.objects.count() == 2


def test_a_report_of_many_machines_is_kept_in_few_statements(
    rich, node, django_assert_max_num_queries
):
    machines = [make_machine(rich, f"m{number}") for number in range(10)]
    Machine.objects.update(node=node, status="running")
    minutes = tuple(ToldMinute(minute=now_minute() - n, cores=1) for n in range(1, 6))
    states = [
        MachineState(
            machine=each.key,
            phase=MachinePhase.RUNNING,
            usage=MachineUsage(taken_at=time.time(), cores_limit=1, memory_limit_bytes=GIB),
            minutes=minutes,
        )
        for each in machines
    ]
    with django_assert_max_num_queries(4):
        keep_usage(node=node, report=MachineReport(engine="26", machines=states))
    assert UsageMinute.objects.count() == 50


def test_programs_are_told_the_machines_own_processors(box, node):
    environment = list_orders(node)[0].environment
    cores = str(box.flavor.cores)
    assert {environment[name] for name in ("OMP_NUM_THREADS", "PYTHON_CPU_COUNT")} == {cores}


def test_a_clock_that_a_day_ago_was_right_shows_a_day(box, rich, api):
    now = now_minute()
    UsageMinute.objects.bulk_create(
        UsageMinute(machine=box, minute=now - ago, cores=1) for ago in range(KEPT_MINUTES)
    )
    since = (datetime.now(UTC) - timedelta(days=9)).isoformat()
    body = api(rich).get(f"/api/machines/{box.key}/usage/", {"since": since}).json()
    assert len(body["minutes"]["at"]) == KEPT_MINUTES
    assert body["minutes"]["at"] == sorted(body["minutes"]["at"])
