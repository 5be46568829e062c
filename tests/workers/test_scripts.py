"""A script's words and numbers on their way out, and how its end is judged; without containers."""

import json
import os
import threading

import pytest

from engine.specs import ScriptSpec
from engine.specs.outcome import Outcome
from engine.status import Reason
from workers.machines.orders import MachineLimits
from workers.machines.walls import EngineFault
from workers.orders import ContainerOrder, RunOrder
from workers.scripts import carrier as carriers
from workers.scripts.box import Box
from workers.scripts.carrier import Carrier
from workers.scripts.containers import Ended
from workers.scripts.metrics import MetricReader
from workers.scripts.pipe import Pipe


def read(*lines: bytes) -> tuple[list[dict], int]:
    reader = MetricReader()
    events = [event for line in lines for event in reader.feed(line)]
    fields = [event.model_dump(exclude={"seq", "time"}, exclude_none=True) for event in events]
    return fields, reader.num_bad


def test_numbers_are_metrics_at_their_step_or_at_the_next():
    events, num_bad = read(b'{"loss": 1}\n{"step": 9, "lo', b'ss": 0.5}\n', b'{"loss": 2}\n')
    assert [(event["step"], event["values"]["loss"]) for event in events] == [
        (1, 1.0),
        (9, 0.5),
        (10, 2.0),
    ]
    assert num_bad == 0


def test_how_far_it_is_is_progress():
    events, _ = read(b'{"done": 3, "total": 4}\n')
    assert events == [
        {"type": "progress", "stage": "script", "done": 3.0, "total": 4.0, "unit": ""}
    ]


@pytest.mark.parametrize(
    "line",
    [b"no json", b"[1]", b'{"loss": "low"}', b'{"loss": true}', b'{"step": -1}', b'{"a": [1]}']
    + [b'{"done": -1}', b'{"step": 1.5, "a": 1}', b'{"a\\u0000": 1}', b"[" * 60_000, b"\xff\xfe"]
    + [json.dumps({str(n): n for n in range(101)}).encode(), b'{"a": 1' + b" " * 70_000 + b"}"],
)
def test_what_is_no_line_of_numbers_is_counted_and_what_follows_is_read(line):
    events, num_bad = read(line + b"\n", b'{"loss": 1}\n')
    assert num_bad == 1 and events[-1]["values"] == {"loss": 1.0}


def test_a_number_that_is_none_in_json_is_left_out():
    assert read(b'{"loss": NaN}\n{"loss": 1e999, "lr": 0.1}\n')[0][-1]["values"] == {"lr": 0.1}


def test_a_pipe_holds_every_byte_until_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "log")
    pipe = Pipe(tmp_path / "log")
    wanted = os.urandom(3 << 20)

    def write() -> None:
        with (tmp_path / "log").open("wb") as file:
            file.write(wanted)

    writer = threading.Thread(target=write)
    writer.start()
    got = b""
    while len(got) < len(wanted):
        got += b"".join(pipe.read())
    writer.join()
    assert got == wanted and list(pipe.read()) == []


class FakeEngine:
    """Ends as it is told to; each look takes the next of its answers, the last one again."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.sent: list[str] = []
        self.removed: list[str] = []

    def prepare(self, order) -> int:
        return os.getuid()

    def start(self, order, box, inputs) -> str:
        self.inputs = inputs
        return "it"

    def look(self, container):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def send(self, container, signal) -> None:
        self.sent.append(signal)

    def remove(self, run_id) -> None:
        self.removed.append(run_id)


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(carriers, "is_firewall_up", lambda: True)
    monkeypatch.setattr("workers.carrier._TOLD_WITHIN_S", 1)
    monkeypatch.setattr("workers.scripts.box.bind", lambda source, target: None)
    folder = tmp_path / "run-1"
    folder.mkdir()
    order = RunOrder(
        run_id="run-1",
        job_id="job",
        run_index=1,
        spec=ScriptSpec(command=("true",), home="empty"),
        run_token="run_secret",
        container=ContainerOrder(
            image="base", tenant="u1", limits=MachineLimits(cpus=1, memory_bytes=2**30)
        ),
        issued_at=0,
        expires_at=1,
    )
    (folder / "order.json").write_text(order.model_dump_json())
    return folder


def carry(run_dir, *answers, **options) -> tuple[Outcome, FakeEngine]:
    engine = FakeEngine(*answers)
    Carrier(run_dir, engine, drives=options.get("drives")).carry()
    return Outcome.model_validate_json((run_dir / "outcome.json").read_bytes()), engine


ENDED_BADLY = Ended(1, was_out_of_memory=False)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([None, Ended(0, was_out_of_memory=False)], Reason.NONE),
        ([ENDED_BADLY], Reason.CRASHED),
        ([Ended(137, was_out_of_memory=True)], Reason.OUT_OF_MEMORY),
        ([Ended(137, was_out_of_memory=False, is_gone=True)], Reason.NODE_LOST),
        ([Ended(137, was_out_of_memory=False)], Reason.CRASHED),
        (
            # Killed first, as `docker rm --force` does.
            [Ended(137, was_out_of_memory=False), Ended(137, False, is_gone=True)],
            Reason.NODE_LOST,
        ),
        # Stopped first, as an engine does that ends.
        ([Ended(143, was_out_of_memory=False), EngineFault("engine_away")], Reason.NODE_LOST),
        ([EngineFault("engine_away"), None, ENDED_BADLY], Reason.NODE_LOST),
        ([EngineFault("engine_away"), Ended(0, was_out_of_memory=False)], Reason.NONE),
    ],
)
def test_how_it_ended_is_judged_from_what_the_engine_says(run_dir, answers, reason):
    outcome, engine = carry(run_dir, *answers)
    assert outcome.reason is reason and engine.removed == ["run-1"]
    assert bool(outcome.message) == (reason is not Reason.NONE)


def test_an_engine_that_hangs_keeps_no_word_waiting(run_dir, capfd):
    class Hanging(FakeEngine):
        def look(self, container):
            with Box(run_dir).log.open("wb") as log:
                log.write(b"said meanwhile")
            heard = b""
            while b"said meanwhile" not in heard:  # the carrier hands it on while this look hangs
                heard += capfd.readouterr().out.encode()
            return Ended(0, was_out_of_memory=False)

    engine = Hanging(None)
    Carrier(run_dir, engine, drives=None).carry()
    assert Outcome.model_validate_json((run_dir / "outcome.json").read_bytes()).exit_code == 0


def test_inputs_are_laid_out_to_read_and_go_when_it_is_over(run_dir, tmp_path):
    blob = tmp_path / "blob"
    blob.write_text("weights")
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "model.safetensors").symlink_to(blob)
    (run_dir / "inputs.json").write_text(json.dumps({"/inputs/m": str(snapshot)}))
    _, engine = carry(run_dir, Ended(0, was_out_of_memory=False))
    assert list(engine.inputs) == ["/inputs/m"]
    assert not (Box(run_dir).path / "inputs").exists() and blob.read_text() == "weights"
    assert (Box(run_dir).path / "output").is_dir()


def test_a_drive_that_is_not_here_is_said_and_nothing_runs(run_dir, tmp_path):
    order = json.loads((run_dir / "order.json").read_text())
    order["container"]["home"] = "7"
    (run_dir / "order.json").write_text(json.dumps(order))
    outcome, _ = carry(run_dir, ENDED_BADLY, drives=tmp_path)
    assert (
        outcome.reason is Reason.LAUNCH_FAILED and "drive 7 is not on this node" in outcome.message
    )
    (tmp_path / "elsewhere" / "home").mkdir(parents=True)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "home").symlink_to(tmp_path / "elsewhere" / "home")
    outcome, _ = carry(run_dir, ENDED_BADLY, drives=tmp_path)
    assert "drive 7 is not on this node" in outcome.message


def test_without_walls_no_script_begins(run_dir, monkeypatch):
    monkeypatch.setattr(carriers, "is_firewall_up", lambda: False)
    monkeypatch.setattr(carriers, "_WALLS_S", 0)
    outcome, engine = carry(run_dir, ENDED_BADLY)
    assert outcome.reason is Reason.LAUNCH_FAILED and not hasattr(engine, "inputs")
