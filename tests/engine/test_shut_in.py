"""The verb of an engine in a container, around a carrier that is a small program here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.emitter import Emitter
from engine.hub import Resolved, fetch_repo
from engine.launch import make_run_dir
from engine.recorder import record_run
from engine.shut_in import run_shut_in
from engine.specs import FetchedRepo, Placement, QuantizeSpec, TrainSpec
from engine.specs.outcome import Outcome
from engine.status import Reason, Status
from engine.stopping import StopGate
from tests.engine.recorded import join_log, read_events
from tests.engine.test_script_run import CARRIER, last

SPEC = TrainSpec(model="athanor/tiny", dataset="alice/talks")


def record(tmp_path: Path, body: str, spec: TrainSpec = SPEC, **fields) -> tuple[Path, Status]:
    """Run the verb with repos that are here already, whose fetching is tested elsewhere."""
    run_dir = tmp_path / "run"
    fetched = {
        f"{kind} {ref}": FetchedRepo(path=tmp_path, repo=ref, revision="0" * 40)
        for kind, ref in spec.list_sources()
    }
    code = CARRIER.replace("BODY", body)
    carrier = (sys.executable, "-c", code)
    make_run_dir(spec, Placement(run_dir=run_dir, carrier=carrier, fetched=fetched, **fields))
    return run_dir, record_run(run_dir)


def test_what_was_fetched_is_told_and_the_log_is_the_engines_alone(tmp_path):
    body = "os.makedirs(run_dir + '/out'); print(open(run_dir + '/fetched.json').read())"
    run_dir, status = record(tmp_path, body)
    assert status is Status.SUCCEEDED
    told = json.loads(join_log(read_events(run_dir)))
    assert set(told) == {"model athanor/tiny", "dataset alice/talks"}
    assert told["model athanor/tiny"]["revision"] == "0" * 40


def test_the_reason_inside_is_the_runs(tmp_path):
    body = "outcome |= {'exit_code': 1, 'reason': 'bad_data', 'message': 'dataset: no rows.'}"
    run_dir, status = record(tmp_path, body)
    end = last(run_dir)
    assert (status, end["reason"], end["exit_code"]) == (Status.FAILED, Reason.BAD_DATA, 1)
    assert end["message"] == "dataset: no rows."


def test_a_quantized_model_is_delivered_as_a_model(tmp_path, monkeypatch):
    pushed = []
    monkeypatch.setattr("engine.shut_in.carry", lambda placement: Outcome())
    monkeypatch.setattr(
        "engine.shut_in.push_folder", lambda folder, role, *rest: pushed.append((folder, role))
    )
    spec = QuantizeSpec(model="athanor/tiny", method="gptq")
    given = FetchedRepo(path=tmp_path, repo="athanor/tiny", revision="1" * 40)
    (tmp_path / "out").mkdir()
    placement = Placement(run_dir=tmp_path, fetched={"model athanor/tiny": given})
    run_shut_in(spec, placement, Emitter(), StopGate())
    assert pushed == [(tmp_path / "out", "model")]


def test_a_path_of_the_node_is_refused(tmp_path):
    spec = TrainSpec(model="athanor/tiny", dataset="/etc")
    run_dir, status = record(tmp_path, "", spec)
    assert (status, last(run_dir)["reason"]) == (Status.FAILED, Reason.BAD_SPEC)
    assert "sees no files of its node" in last(run_dir)["message"]


def test_links_in_the_output_are_not_followed(tmp_path):
    body = "os.makedirs(run_dir + '/out'); os.symlink('/etc/passwd', run_dir + '/out/weights')"
    run_dir, status = record(tmp_path, body, push_to="alice/out")
    assert (status, last(run_dir)["reason"]) == (Status.FAILED, Reason.INTERNAL_ERROR)
    assert "nothing is pushed" in last(run_dir)["message"]


def test_a_stop_reaches_what_runs_in_the_container(tmp_path):
    body = """
def stop(number, frame):
    print("saved"); sys.exit()
signal.signal(signal.SIGTERM, stop)
print("on", flush=True)
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""
    run_dir, status = record(tmp_path, body)
    assert (status, last(run_dir)["reason"]) == (Status.STOPPED, Reason.STOPPED_BY_OWNER)
    assert join_log(read_events(run_dir)) == b"on\nsaved\n"


def test_inside_nothing_is_fetched(tmp_path):
    given = FetchedRepo(path=tmp_path, repo="athanor/tiny", revision="1" * 40)
    placement = Placement(run_dir=tmp_path, fetched={"model athanor/tiny@main": given})
    got = fetch_repo("athanor/tiny@main", "model", placement, Emitter())
    assert got == Resolved("athanor/tiny@main", tmp_path, "athanor/tiny", "1" * 40)


@pytest.mark.parametrize("module", ["torch", "transformers", "peft"])
def test_outside_none_of_the_heavy_libraries_is_loaded(module):
    code = f"import sys, engine.work, engine.shut_in; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
