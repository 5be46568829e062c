"""What of the disk a machine may fill, its own layer and /scratch: on an engine with btrfs."""

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.specs import ScriptSpec
from tests.deploy.engine import run_engine, why_not
from tests.deploy.machines import FOLDER
from tests.deploy.nodes import MIB, Node
from tests.live import wait_for
from tests.studio.drive.disks import mount_btrfs, why_no_btrfs
from workers.machines.orders import MachineLimits, MachinePhase
from workers.orders import ContainerOrder, RunOrder
from workers.scripts.box import Box
from workers.scripts.containers import ScriptEngine
from workers.scripts.pipe import Pipe

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]
PROGRAMS = ("cat", "dd", "df", "head", "ls", "sh", "sleep", "sync", "tr")
LIMITS = MachineLimits(
    cpus=0.5, memory_bytes=128 * MIB, pids=64, disk_bytes=24 * MIB, scratch_bytes=32 * MIB
)


@pytest.fixture(scope="module")
def small() -> Iterator[Node]:
    """A node whose engine keeps its data on a small btrfs disk, with an image of a few programs."""
    if reason := why_not() or why_no_btrfs():
        pytest.fail(reason)
    FOLDER.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="disks-", dir=FOLDER))
    path.chmod(0o711)  # a machine's root is nobody out here
    with mount_btrfs(path) as disk:
        options = ("--userns-remap=default", "--storage-driver=btrfs")
        with run_engine(*options, data=disk / "docker") as docker:
            make_tree(path / "tree.tar")
            command = ("--change", 'CMD ["sleep", "infinity"]')
            docker.run("docker", "import", *command, str(path / "tree.tar"), "athanor-test-machine")
            node = Node(docker, path)
            yield node
            node.orders.clear()
            node.settle()
            node.reconciler.close()
            assert not list((path / "disks").iterdir())
    shutil.rmtree(path, ignore_errors=True)


def make_tree(tar: Path) -> None:
    """Write a tree of a few of this system's programs, and what they are linked with."""
    found = {Path("/bin") / name: Path("/bin") / name for name in PROGRAMS}
    for program in list(found):
        told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True)
        for word in told.stdout.split():
            if word.startswith("/"):
                found[Path(word)] = Path(word)
    with tarfile.open(tar, "w", dereference=True) as made:
        for folder in sorted({parent for path in found for parent in path.parents}):
            made.addfile(make_folder(folder))
        for path in found:
            made.add(path.resolve(), arcname=str(path).lstrip("/"))


def make_folder(path: Path) -> tarfile.TarInfo:
    folder = tarfile.TarInfo(str(path).lstrip("/") or ".")
    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
    return folder


def test_a_layer_and_a_scratch_disk_that_are_full_are_so_for_their_machine_alone(small):
    node = small
    for name, tenant in (("m1", "ada"), ("m2", "bob")):
        node.want(name, tenant=tenant, limits=LIMITS)
    states = node.settle()
    assert {state.phase for state in states.values()} == {MachinePhase.RUNNING}, states
    assert node.reconciler._engine.list_unlimited() == ()
    node.inside("m1", "echo kept > /kept; echo kept > /scratch/kept")
    for place, size in (("/flood", 24), ("/scratch/flood", 32)):
        said = node.inside("m1", f"dd if=/dev/zero of={place} bs=1M count=64 && sync")
        assert "No space left" in said or "Disk quota exceeded" in said, said
        written = int(node.inside("m1", f"ls -l {place}").split()[4])
        assert size / 2 * MIB < written <= size * MIB
    assert node.inside("m1", "cat /kept /scratch/kept; echo new > /root/x; cat /root/x") == (
        "kept\nkept\nnew\n"
    )
    fine = (
        "dd if=/dev/zero of=/mine bs=1M count=8 && sync && echo FINE > /scratch/x; cat /scratch/x"
    )
    assert "FINE" in node.inside("m2", fine)
    node.want("m1", limits=LIMITS, is_running=False)
    node.settle()
    node.want("m1", limits=LIMITS, is_running=True, start=2)
    assert node.settle()["m1"].phase is MachinePhase.RUNNING
    assert node.inside("m1", "cat /kept /scratch/kept") == "kept\nkept\n"


def test_a_reset_begins_with_an_empty_scratch_disk(small):
    node = small
    node.want("m3", tenant="eve", limits=LIMITS)
    node.settle()
    node.inside("m3", "echo old > /scratch/old")
    node.want("m3", tenant="eve", limits=LIMITS, life=2)
    node.settle()
    assert node.inside("m3", "ls /scratch") == ""
    assert {path.name for path in (node.path / "disks").iterdir()} >= {"athanor-m3-2"}
    assert not (node.path / "disks" / "athanor-m3-1").exists()


def test_a_scripts_layer_and_its_output_have_an_end(small):
    node, run_dir = small, small.path / "runs" / "run-1"
    run_dir.mkdir(parents=True)
    flood = "dd if=/dev/zero of={0} bs=1M count=64; sync; ls -l {0}"
    command = "; ".join(flood.format(place) for place in ("/flood", "/output/flood"))
    container = ContainerOrder(image=node.image, tenant="ada", limits=LIMITS)
    order = RunOrder(
        run_id="run-1", job_id="job", run_index=1, run_token="run_x", issued_at=0, expires_at=1,
        spec=ScriptSpec(command=("sh", "-c", command), home="empty"), container=container,
    )  # fmt: skip
    engine, box = ScriptEngine("n1", host=f"unix://{node.docker.socket}"), Box(run_dir)
    root = engine.prepare(container)
    box.fill({}, owner=root, drive=None, output_bytes=LIMITS.scratch_bytes)
    log = Pipe(box.log)
    made = engine.start(order, box, {})
    wait_for("it to end", lambda: engine.look(made), timeout_s=60)
    said = b"".join(log.read()).decode()
    assert said.count("No space left") + said.count("Disk quota exceeded") == 2, said
    sizes = [int(line.split()[4]) for line in said.splitlines() if line.startswith("-")]
    for size, most in zip(sizes, (24, 32), strict=True):
        assert most / 2 * MIB < size <= most * MIB, said
    engine.remove("run-1")
    box.clear()
    assert (run_dir / "box" / "output" / "flood").stat().st_size == sizes[1]  # to be pushed
    box.close()
    assert "run-1" not in Path("/proc/mounts").read_text()
    assert (run_dir / "box" / "disk" / "output").is_file()
