"""An engine in a container: what it is shown and says, and how its end is judged; without one."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.specs import FetchedRepo, Placement, ScriptSpec, ServeSpec, TrainSpec
from engine.specs.outcome import Outcome
from engine.status import Reason
from tests.workers.test_config import GOOD
from workers.config import NodeConfig, read_config
from workers.engines.box import EngineBox, place_inside
from workers.engines.carrier import EngineCarrier
from workers.engines.check import RuntimeCheck
from workers.engines.containers import EngineContainers
from workers.engines.words import WordReader
from workers.errors import WorkerError
from workers.inventory import Device
from workers.launch import make_placement
from workers.machines.orders import MachineLimits
from workers.machines.walls import EngineFault
from workers.node_dir import NodeDir
from workers.orders import ContainerOrder, RunOrder
from workers.scripts.containers import Ended
from workers.sentences import NODE_SENTENCES

SPEC = TrainSpec(model="athanor/tiny", dataset="alice/talks")
GPU = Device(index=3, name="GPU", memory_bytes=2**30, uuid="MOCK-3")
WORD = {"type": "status", "status": "succeeded", "reason": "completed", "message": ""}


def make_order(**fields) -> RunOrder:
    known = {"spec": SPEC, "run_token": "run_secret", "memory_bytes": 2**30, "issued_at": 0}
    return RunOrder(run_id="run-1", job_id="job", run_index=1, expires_at=1, **(known | fields))


# What the node is told.


def test_docker_without_an_image_is_refused_by_name():
    with pytest.raises(WorkerError, match="ATHANOR_ENGINE_IMAGE is not set: with ATHANOR_RUNTIME"):
        read_config(GOOD | {"ATHANOR_RUNTIME": "docker"})
    with pytest.raises(WorkerError, match="ATHANOR_RUNTIME is 'podman': write process or docker"):
        read_config(GOOD | {"ATHANOR_RUNTIME": "podman"})
    with pytest.raises(WorkerError, match="ATHANOR_ENGINE_IMAGE is '--privileged'"):
        read_config(GOOD | {"ATHANOR_RUNTIME": "docker", "ATHANOR_ENGINE_IMAGE": "--privileged"})


def test_an_image_alone_changes_nothing():
    assert read_config(GOOD | {"ATHANOR_ENGINE_IMAGE": "engine"}).engine_image == ""
    both = {"ATHANOR_RUNTIME": "docker", "ATHANOR_ENGINE_IMAGE": "engine"}
    assert read_config(GOOD | both).engine_image == "engine"


@pytest.mark.parametrize(
    ("image", "spec", "module"),
    [
        ("engine", SPEC, "workers.engines"),
        ("engine", ServeSpec(model="athanor/tiny"), ""),
        ("", SPEC, ""),
        ("", ScriptSpec(command=("true",)), "workers.scripts"),
        ("engine", ScriptSpec(command=("true",)), "workers.scripts"),
    ],
)
def test_what_is_carried_is_a_script_and_on_nodes_that_are_told_so_a_finetune(
    tmp_path, image, spec, module
):
    config = NodeConfig(
        studio_url="http://studio",
        node_token="node_x",
        broker_url="redis://x",
        node_name="n1",
        node_dir=tmp_path,
        engine_image=image,
    )
    limits = MachineLimits(cpus=1, memory_bytes=2**30)
    container = ContainerOrder(image="base", tenant="u1", limits=limits)
    order = make_order(spec=spec, container=container if spec.kind == "script" else None)
    placement = make_placement(NodeDir(tmp_path), config, order)
    assert (module in placement.carrier) if module else placement.carrier == ()
    assert placement.memory_bytes == (None if module else 2**30)  # a container has its own limit


# What it is shown.


@pytest.fixture
def run_dir(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("workers.carrier._TOLD_WITHIN_S", 1)
    bound: dict[Path, Path] = {}
    for module in ("workers.engines.box", "workers.scripts.box"):
        monkeypatch.setattr(f"{module}.bind", lambda source, target: bound.update({target: source}))
    snapshot = tmp_path / "cache" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    folder = tmp_path / "run-1"
    folder.mkdir()
    earlier = tmp_path / "run-0" / "checkpoints" / "step-4"
    earlier.mkdir(parents=True)
    placement = Placement(
        run_dir=folder,
        hub_url="http://studio",
        hub_token="run_secret",
        push_to="alice/out",
        cache_dir=tmp_path / "cache",
        server_token="server_secret",
        resume_from=earlier,
        carrier=("carry",),
        provenance={"node": "n1"},
    )
    fetched = {"model athanor/tiny": FetchedRepo(path=snapshot, repo="athanor/tiny", revision="0")}
    body = {name: json.loads(repo.model_dump_json()) for name, repo in fetched.items()}
    (folder / "placement.json").write_text(placement.model_dump_json())
    (folder / "spec.json").write_text(SPEC.model_dump_json())
    (folder / "order.json").write_text(make_order().model_dump_json())
    (folder / "fetched.json").write_text(json.dumps(body))
    return folder


def read_placement(run_dir: Path) -> Placement:
    return Placement.model_validate_json((run_dir / "placement.json").read_bytes())


def test_it_is_shown_its_orders_and_inputs_and_no_token(run_dir):
    fetched = FetchedRepo(path=run_dir.parent / "cache" / "0123", repo="athanor/tiny", revision="0")
    placement = read_placement(run_dir).model_copy(update={"fetched": {"model x/y": fetched}})
    shown = EngineBox(run_dir).fill_for(placement, user=os.getuid())
    given = run_dir / "box" / "given"
    text = "".join(path.read_text() for path in given.glob("*.json"))
    assert "secret" not in text and "http://studio" not in text and str(run_dir) not in text
    inside = Placement.model_validate_json((given / "placement.json").read_bytes())
    assert inside.fetched["model x/y"].path == Path("/run/athanor/read/0")
    assert inside.fetched["model x/y"].repo == "athanor/tiny" and inside.push_to is None
    assert inside.resume_from == Path("/run/athanor/resume") and inside.carrier == ()
    assert set(shown.written) == {
        f"/run/athanor/run/{name}" for name in ("data", "checkpoints", "out", "tensorboard")
    }
    assert set(shown.read) == {f"/run/athanor/{name}" for name in ("run", "read/0", "resume")}
    assert (run_dir / "box" / "inputs" / "0" / "config.json").read_text() == "{}"


def test_a_checkpoint_that_is_a_link_is_not_shown(run_dir, tmp_path):
    step = tmp_path / "run-0" / "checkpoints" / "step-4"
    step.rmdir()
    step.symlink_to("/etc")
    shown = EngineBox(run_dir).fill_for(read_placement(run_dir), user=os.getuid())
    assert "/run/athanor/resume" not in shown.read


@given(name=st.text(max_size=40), path=st.text(min_size=1, max_size=40).map(lambda t: "/" + t))
def test_no_place_of_the_node_is_told_inside(name, path):
    where = Path("/secret-node-dir")
    placement = Placement(
        run_dir=where,
        cache_dir=where,
        resume_from=where,
        hub_token="run_secret",
        fetched={name: FetchedRepo(path=where / path.lstrip("/"))},
    )
    inside, shown = place_inside(placement)
    assert "secret" not in inside.model_dump_json(exclude={"fetched": {name}})
    assert "secret" not in str(inside.fetched[name].path)
    assert list(shown) == ["/run/athanor/read/0"]


# What it says.


def test_its_last_word_is_kept_back_and_all_else_goes_on():
    reader = WordReader()
    metric = b'{"type":"metric","step":1,"values":{"status":1.0}}'
    lines = [metric, json.dumps(WORD).encode(), b"no json", b'{"status": "odd"}']
    assert reader.feed(b"\n".join(lines) + b"\ncut off") == [
        metric,
        b"no json",
        b'{"status": "odd"}',
    ]
    assert reader.end() == [b"cut off"]
    assert reader.last is not None and reader.last.status == "succeeded"


@given(st.lists(st.binary(max_size=200)), st.integers(1, 50))
def test_no_byte_but_the_last_word_is_lost_however_it_comes(pieces, size):
    reader = WordReader()
    data = b"\n".join(pieces) + b"\n"
    out: list[bytes] = []
    for at in range(0, len(data), size):
        out += reader.feed(data[at : at + size])
    assert out + reader.end() == [line for line in data.split(b"\n") if line]


# How it ends.


class FakeContainers(EngineContainers):
    """Ends as it is told to, after words that the test gives it."""

    def __init__(self, run_dir: Path, said: list[dict], *answers) -> None:
        super().__init__("n1", "engine")
        self.run_dir, self.said, self.answers = run_dir, said, list(answers)
        self.removed: list[str] = []
        self.devices: tuple[str, ...] = ()

    def find_user(self) -> int:
        return os.getuid()

    def find_image(self) -> str:
        return "sha256:1"

    def start(self, order, box, shown, *, image, devices) -> str:
        assert image == "sha256:1"
        self.devices = tuple(devices)
        with box.second.open("r+b", buffering=0) as told:  # the carrier holds the reading end
            told.write(b"".join(json.dumps(each).encode() + b"\n" for each in self.said))
        return "it"

    def look(self, container):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def send(self, container, signal) -> None:
        raise AssertionError("nobody has asked it to stop")

    def remove(self, run_id) -> None:
        self.removed.append(run_id)


def carry(run_dir: Path, said: list[dict], *answers) -> tuple[Outcome, FakeContainers]:
    engine = FakeContainers(run_dir, said, *answers)
    EngineCarrier(run_dir, engine, [GPU]).carry()
    return Outcome.model_validate_json((run_dir / "outcome.json").read_bytes()), engine


@pytest.fixture(scope="module")
def carrier(tmp_path_factory) -> EngineCarrier:
    folder = tmp_path_factory.mktemp("judged")
    (folder / "order.json").write_text(make_order().model_dump_json())
    return EngineCarrier(folder, FakeContainers(folder, [], None), [GPU])


STOPPED = WORD | {"status": "stopped", "reason": "stopped_by_owner"}
BAD = WORD | {"status": "failed", "reason": "bad_data", "message": "dataset: no rows."}
GONE = Ended(137, was_out_of_memory=False, is_gone=True)


def ended(code: int, *, oom: bool = False) -> Ended:
    return Ended(code, was_out_of_memory=oom)


@pytest.mark.parametrize(
    ("said", "answers", "reason"),
    [
        ([WORD], [None, ended(0)], Reason.NONE),
        ([WORD], [GONE], Reason.NONE),  # it had done all that it does
        ([BAD], [ended(1)], Reason.BAD_DATA),
        (
            [BAD],
            [EngineFault("engine_away"), ended(1)],
            Reason.BAD_DATA,
        ),  # its own word needs no engine
        ([], [ended(137, oom=True)], Reason.OUT_OF_MEMORY),
        ([], [ended(137)], Reason.NODE_LOST),
        ([], [ended(137), GONE], Reason.NODE_LOST),
        ([], [ended(139)], Reason.CRASHED),
        ([], [ended(0)], Reason.CRASHED),  # a success is never guessed
        ([], [GONE], Reason.NODE_LOST),
        ([], [EngineFault("engine_away"), None, ended(137)], Reason.NODE_LOST),
        ([STOPPED], [ended(0)], Reason.NODE_LOST),  # by somebody on the node
        ([STOPPED], [EngineFault("engine_away"), ended(0)], Reason.NODE_LOST),
    ],
)
def test_its_end_is_judged_by_its_word_and_what_became_of_its_container(
    run_dir, said, answers, reason
):
    outcome, engine = carry(run_dir, said, *answers)
    assert outcome.reason is reason, outcome
    assert bool(outcome.message) == (reason is not Reason.NONE)
    assert engine.removed == ["run-1"]


@given(
    word=st.sampled_from([None, WORD, STOPPED, BAD]),
    was_away=st.booleans(),
    code=st.integers(0, 255),
    oom=st.booleans(),
    is_gone=st.booleans(),
)
def test_whatever_becomes_of_its_container_nothing_untrue_is_said(
    carrier, word, was_away, code, oom, is_gone
):
    carrier._was_away, carrier._words = was_away, WordReader()
    if word is not None:
        carrier.hear(json.dumps(word).encode() + b"\n")
    outcome = carrier.judge(Ended(code, was_out_of_memory=oom, is_gone=is_gone))
    assert (outcome.reason is Reason.NONE) == (word == WORD)  # a success is said, or is none
    assert bool(outcome.message) == (outcome.reason is not Reason.NONE)
    if word == BAD:
        assert outcome.reason is Reason.BAD_DATA
    if outcome.reason is Reason.NODE_LOST:  # which is refunded
        assert was_away or is_gone or word == STOPPED or code == 137
    if outcome.reason is Reason.OUT_OF_MEMORY:
        assert oom
    assert outcome.reason is not Reason.STOPPED_BY_OWNER  # nobody asked


def test_it_gets_its_own_gpus_and_no_run_begins_without_them(run_dir):
    for devices, reason in (((3,), Reason.NONE), ((3, 4), Reason.LAUNCH_FAILED)):
        (run_dir / "order.json").write_text(make_order(devices=devices).model_dump_json())
        outcome, engine = carry(run_dir, [WORD], ended(0))
        assert outcome.reason is reason
        if reason is Reason.NONE:
            assert engine.devices == ("MOCK-3",)
    assert "GPU 4 is not on this node any more" in outcome.message


def test_an_image_that_went_away_is_said(run_dir, monkeypatch):
    def refuse(self) -> str:
        raise EngineFault("engine_image_missing", image="engine")

    monkeypatch.setattr(FakeContainers, "find_image", refuse)
    outcome, _ = carry(run_dir, [WORD], ended(0))
    assert outcome.reason is Reason.LAUNCH_FAILED and "not on this node" in outcome.message


class FakeImage:
    """A Docker engine with one image, whose engine says what the test tells it to."""

    def __init__(self, said: str, status: int = 0) -> None:
        self.said, self.status, self.asked, self.removed = said, status, [], 0
        self.api = self.containers = self

    def info(self) -> dict:
        return {"DockerRootDir": "/var/lib/docker/100000.100000", "SecurityOptions": ["userns"]}

    def inspect_image(self, image: str) -> dict:
        return {"Id": "sha256:1", "Config": {"Labels": {"athanor.engine": "1"}}}

    def create(self, image: str, **options):
        assert options["network_mode"] == "none" and options["cap_add"] == []
        self.asked.append((image, options["entrypoint"][1:]))
        return self

    def start(self) -> None:
        """It is one container as well."""

    def wait(self, timeout: float) -> dict:
        return {"StatusCode": self.status}

    def logs(self, **_) -> bytes:
        return self.said.encode()

    def remove(self, force: bool) -> None:
        self.removed += 1


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ("0.1.0\n", 0, None),
        ("0.0.9\n", 0, "engine_version_differs"),
        ("usage: python -m engine\n", 2, "engine_version_unknown"),  # before it could say
        ("warning\n0.1.0\n", 0, "engine_version_unknown"),
        ("", 137, "engine_version_unknown"),
    ],
)
def test_an_image_of_another_athanor_is_told_apart_and_asked_once(said, status, code):
    containers = EngineContainers("n1", "engine")
    containers._client = fake = FakeImage(said, status)
    for _ in range(2):
        found = NODE_SENTENCES.find(containers.compare("0.1.0"))
        assert (found.code if found else None) == code
    assert fake.asked == [("sha256:1", ["-m", "engine", "--version"])] and fake.removed == 1
    if code == "engine_version_differs":
        assert found.params == {"image": "engine", "found": "0.0.9", "version": "0.1.0"}


async def test_what_an_image_is_said_to_be_is_a_notice_and_keeps_no_run_away(monkeypatch):
    monkeypatch.setattr(EngineContainers, "explain", lambda self: "")
    monkeypatch.setattr(EngineContainers, "compare", lambda self, version: "It differs.")
    check = RuntimeCheck(
        read_config(GOOD | {"ATHANOR_RUNTIME": "docker", "ATHANOR_ENGINE_IMAGE": "engine"})
    )
    looking = asyncio.create_task(check.look_forever())
    await check.wait()
    looking.cancel()
    assert (check.problem, check.notice) == ("", "It differs.")


def test_the_engine_alone_says_which_athanor_it_is_of(tmp_path):
    shutil.copytree(Path(engine.__file__).parent, tmp_path / "engine")
    (tmp_path / "engine" / "VERSION").write_text("9.8.7\n")
    asked = [sys.executable, "-m", "engine", "--version"]
    said = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == "9.8.7\n"
