"""What a node measures of machines: the kernel's files of both versions, rates, minutes."""

import asyncio
import os
import pty
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.machines import cgroups
from workers.machines.cgroups import Cgroup, Hierarchies, find_cgroup
from workers.machines.engine import Disks
from workers.machines.gpus import GpuMeter
from workers.machines.measures import MOST_MINUTES, DeviceUsage, MachineUsage
from workers.machines.minutes import MinuteBook
from workers.machines.orders import (
    MachineLimits,
    MachineOrder,
    MachinePhase,
    MachineReport,
    MachineState,
)
from workers.machines.plan import Container
from workers.machines.usage import UsageMeter
from workers.machines.walls import EngineFault

GIB = 2**30


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@pytest.fixture
def unified(tmp_path) -> Cgroup:
    folder = write(
        tmp_path / "v2",
        cpu__stat="usage_usec 2500000\nuser_usec 1\n",
        memory__current=f"{3 * GIB}\n",
        memory__stat=f"anon 1\ninactive_file {GIB}\n",
        cgroup__procs="11\n12\n",
    )
    return Cgroup({"": folder})


@pytest.fixture
def split(tmp_path) -> Cgroup:
    memory = write(
        tmp_path / "memory",
        memory__usage_in_bytes=f"{3 * GIB}\n",
        memory__stat=f"inactive_file 5\ntotal_inactive_file {GIB}\n",
        cgroup__procs="11\n12\n",
    )
    return Cgroup(
        {"memory": memory, "cpuacct": write(tmp_path / "cpu", cpuacct__usage="2500000000\n")}
    )


@pytest.mark.parametrize("version", ["unified", "split"])
def test_both_versions_of_control_groups_tell_the_same(version, request):
    group = request.getfixturevalue(version)
    assert group.read_cpu_s() == 2.5
    assert group.read_memory_bytes() == 2 * GIB
    assert group.list_processes() == [11, 12]


def test_what_is_not_there_is_not_nought(tmp_path):
    group = Cgroup({"": tmp_path})
    assert group.read_cpu_s() is None
    assert group.read_memory_bytes() is None
    assert group.list_processes() is None
    assert cgroups.read_network_bytes(1, proc=tmp_path) is None
    assert cgroups.read_terminal_at(1, proc=tmp_path) is None
    assert find_cgroup(1, proc=tmp_path, found=Hierarchies({"": tmp_path})) is None


@pytest.mark.parametrize(
    ("said", "controllers"),
    [
        ("0::/docker/abc\n", {""}),
        ("4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n", {"", "memory", "cpuacct"}),
        ("0::/gone\n", None),
    ],
)
def test_a_process_leads_to_its_control_group(tmp_path, said, controllers):
    roots = {"": tmp_path / "unified", "memory": tmp_path / "memory", "cpuacct": tmp_path / "cpu"}
    for root in roots.values():
        (root / "docker" / "abc").mkdir(parents=True)
    write(tmp_path / "proc" / "7", cgroup=said)
    found = find_cgroup(7, proc=tmp_path / "proc", found=Hierarchies(roots))
    assert (found and set(found.folders)) == controllers


def test_this_very_process_is_measured():
    group = find_cgroup(os.getpid())
    assert group is not None
    assert (group.read_memory_bytes() or 0) > 10 * 2**20 or not group.is_unified
    assert cgroups.read_network_bytes(os.getpid()) is not None


def test_the_network_is_counted_without_the_loopback(tmp_path):
    head = "Inter-|   Receive\n face |bytes packets\n"
    lo = "    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n"
    eth = "  eth0: 100 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n  eth1:20 1 0 0 0 0 0 0 3 1 0 0 0 0 0 0\n"
    write(tmp_path / "5" / "net", dev=head + lo + eth)
    assert cgroups.read_network_bytes(5, proc=tmp_path) == (120, 10)


def test_a_terminal_that_was_written_to_tells_when(tmp_path):
    _, inner = pty.openpty()
    folder = tmp_path / "5" / "root" / "dev"
    folder.mkdir(parents=True)
    (folder / "pts").symlink_to("/dev/pts")
    assert cgroups.read_terminal_at(5, proc=tmp_path) is None, "no link is followed"
    (folder / "pts").unlink()
    (folder / "pts").mkdir()
    (folder / "pts" / "0").write_text("no terminal")
    (folder / "pts" / "1").symlink_to(os.ttyname(inner))
    assert cgroups.read_terminal_at(5, proc=tmp_path) == 0
    at = cgroups.read_terminal_at(os.getpid())
    assert at is not None
    assert at >= os.stat(os.ttyname(inner)).st_mtime


def test_runs_are_known_by_the_shell_that_keeps_them(tmp_path):
    keeper = ["/bin/sh", "-c", "trap : TERM", "athanor-run", "/root/exit", "python", "train.py"]
    others = [["sh", "-c", "athanor-run"], ["athanor-run"], ["python", "train.py"], [""]]
    for pid, words in enumerate([keeper, *others]):
        write(tmp_path / str(pid), cmdline="\0".join(words) + "\0")
    assert cgroups.count_runs([0, 1, 2, 3, 4, 99], proc=tmp_path) == 1


class FakeNvml:
    """As much of NVIDIA's library as is asked; process 11 and 99 are on the GPU."""

    NVML_ERROR_NOT_FOUND = 6

    class NVMLError(Exception):
        def __init__(self, value: int) -> None:
            self.value = value

    def __init__(self) -> None:
        self.since: list[int] = []
        self.fault: int | None = None

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return uuid

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(total=80 * GIB)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        held = {11: 2 * GIB, 99: GIB}
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in held.items()]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle):
        return [SimpleNamespace(pid=11, usedGpuMemory=2 * GIB)]

    def nvmlDeviceGetUtilizationRates(self, handle):
        return SimpleNamespace(gpu=70)

    def nvmlDeviceGetProcessUtilization(self, handle, since):
        self.since.append(since)
        if self.fault is not None:
            raise self.NVMLError(self.fault)
        return [
            SimpleNamespace(pid=11, timeStamp=2000, smUtil=30),
            SimpleNamespace(pid=11, timeStamp=1000, smUtil=90),
            SimpleNamespace(pid=99, timeStamp=2000, smUtil=50),
        ]


def make_order(machine="m1", *, devices=(), percent=100, life=1) -> MachineOrder:
    return MachineOrder(
        machine=machine,
        life=life,
        is_running=True,
        image="sha256:1",
        hostname="box",
        tenant="u1",
        home="1",
        limits=MachineLimits(cpus=2, memory_bytes=4 * GIB),
        devices=devices,
        device_percent=percent,
    )


def test_of_a_shared_gpu_only_the_machines_own_processes_count():
    nvml = FakeNvml()
    meter = GpuMeter(nvml)
    (told,) = meter.read(make_order(devices=("GPU-1",), percent=30), {11, 12})
    assert (told.busy_ratio, told.memory_bytes) == (0.3, 2 * GIB)
    assert told.memory_limit_bytes == 24 * GIB
    meter.read(make_order(devices=("GPU-1",), percent=30), {11, 12})
    assert nvml.since == [0, 2000], "each sample counts once"
    nvml.fault = nvml.NVML_ERROR_NOT_FOUND
    (told,) = meter.read(make_order(devices=("GPU-1",), percent=30), {11})
    assert told.busy_ratio == 0


def test_a_whole_gpu_is_as_busy_as_it_says():
    (told,) = GpuMeter(FakeNvml()).read(make_order(devices=("GPU-1",)), {11})
    assert (told.busy_ratio, told.memory_limit_bytes) == (0.7, 80 * GIB)


def test_what_cannot_be_told_of_a_gpu_is_not_told():
    nvml = FakeNvml()
    nvml.fault = 3
    order = make_order(devices=("GPU-1",), percent=30)
    assert GpuMeter(nvml).read(order, {11}) == [DeviceUsage(uuid="GPU-1")]
    assert GpuMeter(nvml).read(order, None) == [DeviceUsage(uuid="GPU-1")]
    mock = make_order(devices=("MOCK-0",))
    assert GpuMeter(nvml).read(mock, {11}) == [DeviceUsage(uuid="MOCK-0", is_mock=True)]


def make_usage(at: float, **facts) -> MachineUsage:
    return MachineUsage(taken_at=at, cores_limit=2, memory_limit_bytes=GIB, **facts)


def test_a_minute_is_the_mean_of_its_moments_and_the_most_of_its_memory():
    book = MinuteBook()
    for at, cores, memory in [(60, None, 5), (62, 1.0, 9), (64, 2.0, 7), (121, 0.0, 1)]:
        book.add(make_usage(at, cores=cores, memory_bytes=memory))
    (minute,) = book.finished
    assert (minute.minute, minute.cores, minute.memory_bytes) == (1, 1.5, 9)
    assert minute.gpu_busy_ratio is None
    book.drop(book.finished)
    assert book.finished == ()


@given(st.lists(st.integers(0, 10**5), max_size=60))
def test_minutes_come_once_each_in_order_and_never_too_many(times):
    book = MinuteBook()
    for at in times:
        book.add(make_usage(at))
    book.close()
    told = [each.minute for each in book.finished]
    assert told == sorted(set(told)) and len(told) <= MOST_MINUTES


@dataclass
class Engine:
    """Says how much was written, or fails."""

    is_broken: bool = False

    def measure_disks(self) -> Disks:
        if self.is_broken:
            raise EngineFault("engine_away")
        return Disks({"c1": 5}, {"athanor-m1-1": 7}, 1000)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def state(**facts) -> MachineState:
    return MachineState(machine="m1", phase=MachinePhase.RUNNING, life=1, **facts)


async def look(meter, clock, container, *, after_s=2.0) -> MachineState:
    clock.now += after_s
    (told,) = await meter.add_usage([state()], [make_order()], [container])
    await asyncio.sleep(0.05)  # disks are measured beside
    return told


def run(work):
    return asyncio.run(asyncio.wait_for(work, 20))


BOX = Container(id="c1", machine="m1", life=1, status="running", pid=os.getpid())


def test_a_running_machine_is_measured_and_told_once():
    async def live():
        clock = Clock()
        meter = UsageMeter(Engine(), gpus=GpuMeter(FakeNvml()), clock=clock)
        first = await look(meter, clock, BOX)
        assert first.usage is not None and first.usage.cores is None, "a rate needs two looks"
        second = await look(meter, clock, BOX)
        usage = second.usage
        assert usage is not None and usage.cores is not None and usage.cores >= 0
        assert (usage.cores_limit, usage.memory_limit_bytes) == (2, 4 * GIB)
        assert (usage.layer_bytes, usage.scratch_bytes, usage.disk_free_bytes) == (5, 7, 1000)
        assert usage.signs.num_runs == 0 and usage.signs.gpu_busy_lately == 0
        meter.forget_told(MachineReport(engine="1", machines=[second]))
        again = await look(meter, clock, BOX, after_s=0.5)
        assert again.usage is None, "what was told is not told again"
        await meter.close()

    run(live())


def test_what_did_not_arrive_is_told_again():
    async def live():
        clock = Clock()
        meter = UsageMeter(Engine(), clock=clock)
        first = await look(meter, clock, BOX)
        again = await look(meter, clock, BOX, after_s=0.5)
        assert again.usage == first.usage
        await meter.close()

    run(live())


@pytest.mark.parametrize(
    "container",
    [
        replace(BOX, status="exited"),
        replace(BOX, life=2),
        replace(BOX, machine="m2"),
        replace(BOX, pid=0),
    ],
)
def test_what_does_not_run_as_ordered_is_not_measured(container):
    async def live():
        clock = Clock()
        meter = UsageMeter(Engine(), clock=clock)
        assert (await look(meter, clock, container)).usage is None
        await meter.close()

    run(live())


def test_a_node_that_can_measure_nothing_reports_all_the_same():
    async def live():
        clock = Clock()
        meter = UsageMeter(Engine(is_broken=True), clock=clock)
        told = (await look(meter, clock, replace(BOX, pid=2**22 - 1))).usage
        assert told is not None
        assert (told.cores, told.memory_bytes, told.layer_bytes) == (None, None, None)
        assert told.signs.num_runs is None and told.signs.terminal_at is None
        await meter.close()

    run(live())
