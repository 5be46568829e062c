"""The script verb around a carrier that is a small program here; the real one needs containers."""

import json
import os
import sys
from pathlib import Path

from engine.launch import make_run_dir
from engine.recorder import record_run
from engine.script.run import keep_plain
from engine.specs import Placement, ScriptSpec
from engine.status import Reason, Status
from tests.engine.recorded import join_log, read_events

CARRIER = """
import json, os, signal, sys, time
run_dir = sys.argv[-1]
outcome = {"exit_code": 0, "reason": "", "message": ""}
BODY
open(run_dir + "/outcome.json", "w").write(json.dumps(outcome))
"""


def record(tmp_path: Path, body: str, *, carrier: bool = True, **fields) -> tuple[Path, Status]:
    spec = ScriptSpec(command=("true",), **fields)
    run_dir = tmp_path / "run"
    code = CARRIER.replace("BODY", body)
    command = (sys.executable, "-c", code) if carrier else ()
    make_run_dir(spec, Placement(run_dir=run_dir, carrier=command))
    return run_dir, record_run(run_dir)


def last(run_dir: Path) -> dict:
    return json.loads((run_dir / "events.jsonl").read_text().splitlines()[-1])


def test_the_log_is_what_the_script_wrote_and_nothing_else(tmp_path):
    run_dir, status = record(tmp_path, "os.write(1, b'a\\r\\xff\\n'); os.write(2, b'end')")
    assert status == Status.SUCCEEDED
    assert join_log(read_events(run_dir)) == b"a\r\xff\nend"


def test_its_exit_status_is_the_runs(tmp_path):
    body = "outcome |= {'exit_code': 3, 'reason': 'crashed', 'message': 'It ended with 3.'}"
    run_dir, status = record(tmp_path, body)
    end = last(run_dir)
    assert (status, end["exit_code"], end["reason"]) == (Status.FAILED, 3, "crashed")
    assert end["message"] == "It ended with 3." and join_log(read_events(run_dir)) == b""


def test_a_time_limit_stops_it(tmp_path):
    body = "outcome |= {'exit_code': None, 'reason': 'time_limit', 'message': 'Too long.'}"
    run_dir, status = record(tmp_path, body)
    assert (status, last(run_dir)["reason"]) == (Status.STOPPED, Reason.TIME_LIMIT)


def test_without_a_carrier_nothing_is_run(tmp_path):
    run_dir, status = record(tmp_path, "", carrier=False)
    assert (status, last(run_dir)["reason"]) == (Status.FAILED, Reason.LAUNCH_FAILED)
    assert "in a container only" in last(run_dir)["message"]


def test_a_carrier_that_dies_is_the_platforms_fault(tmp_path):
    run_dir, status = record(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert (status, last(run_dir)["reason"]) == (Status.FAILED, Reason.INTERNAL_ERROR)


def test_its_numbers_are_events_of_the_run(tmp_path):
    body = (
        "os.write(int(os.environ['ATHANOR_EVENT_FD']), "
        'b\'{"type": "metric", "step": 2, "values": {"loss": 0.5}}\\n\')'
    )
    run_dir, _ = record(tmp_path, body)
    (metric,) = [event for event in read_events(run_dir) if event.type == "metric"]
    assert (metric.step, metric.values) == (2, {"loss": 0.5})


def test_links_and_special_files_are_taken_out_of_what_is_pushed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    folder = tmp_path / "output"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "kept").write_text("kept")
    (folder / "file").symlink_to(outside / "secret")
    (folder / "folder").symlink_to(outside)
    os.mkfifo(folder / "sub" / "pipe")
    assert keep_plain(folder) == 3
    assert [path.name for path in sorted(folder.rglob("*"))] == ["sub", "kept"]
    assert (outside / "secret").read_text() == "secret"


def test_an_output_without_files_is_not_pushed(tmp_path):
    body = "os.makedirs(run_dir + '/box/output')"
    run_dir, status = record(tmp_path, body, output="mine")
    assert status == Status.SUCCEEDED and b"nothing is pushed" in join_log(read_events(run_dir))
