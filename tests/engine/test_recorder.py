"""The recorder around real children that behave, misbehave and die."""

import os
import signal
import subprocess
import sys

import pytest

from engine.__main__ import main
from engine.events import LOG_CHUNK_BYTES, Log, Metric
from engine.status import Reason, Status
from tests.engine.recorded import (
    close,
    get_final,
    is_running,
    join_log,
    read_events,
    read_pids,
    record,
    start_recorder,
    wait_for,
    wait_for_log,
)

WAIT_FOR_EVER = "signal.pause()"


def test_a_run_begins_running_and_ends_succeeded(tmp_path):
    code, events = record(tmp_path, "print('hello')")
    assert code == 0
    assert (events[0].type, events[0].status) == ("status", Status.RUNNING)
    final = get_final(events)
    assert (final.status, final.reason, final.exit_code) == (
        Status.SUCCEEDED,
        Reason.COMPLETED,
        0,
    )
    assert join_log(events) == b"hello\n"


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(b"x" * 1_000_000 + b"\n", id="a 1 MB line"),
        pytest.param(b"\xff\xfe\x80 half \xe4\xbd\n\xc3(", id="no UTF-8"),
        pytest.param("".join(f"\r{n}%" for n in range(101)).encode(), id="a bar"),
        pytest.param(b"a\x00b\n", id="NUL"),
        pytest.param("\u7089\u7075".encode() * 60_000, id="Chinese without a line end"),
        pytest.param(bytes(range(256)) * 3000, id="every byte"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_every_byte_is_kept(tmp_path, written):
    (tmp_path / "bytes").write_bytes(written)
    _, events = record(
        tmp_path, f"sys.stdout.buffer.write(open({str(tmp_path / 'bytes')!r}, 'rb').read())"
    )
    assert join_log(events) == written
    assert all(len(e.to_bytes()) <= LOG_CHUNK_BYTES for e in events if isinstance(e, Log))


def test_characters_stay_whole_where_pieces_are_cut(tmp_path):
    _, events = record(tmp_path, "sys.stdout.write('\\u7089' * 200_000)")
    assert all(event.text is not None for event in events if isinstance(event, Log))


def test_a_million_lines_lose_none(tmp_path):
    _, events = record(tmp_path, "for n in range(1_000_000): sys.stdout.write(f'{n}\\n')")
    assert join_log(events) == "".join(f"{n}\n" for n in range(1_000_000)).encode()
    assert len(events) < 10_000  # many lines share an event


def test_stdout_and_stderr_keep_their_order(tmp_path):
    code = "for n in range(100): os.write(1 + n % 2, b'%d\\n' % n)"
    _, events = record(tmp_path, code)
    assert join_log(events) == b"".join(b"%d\n" % n for n in range(100))


def test_a_part_of_a_line_is_seen_before_its_end(tmp_path):
    recorder = start_recorder(tmp_path, f"os.write(1, b'50%'); {WAIT_FOR_EVER}")
    wait_for_log(tmp_path, b"50%")
    recorder.terminate()
    recorder.wait()


def test_structured_events_are_numbered_among_the_log(tmp_path):
    _, events = record(tmp_path, "emit(type='metric', step=3, values={'loss': 1.5})")
    metrics = [event for event in events if isinstance(event, Metric)]
    assert [(metric.step, metric.values) for metric in metrics] == [(3, {"loss": 1.5})]


@pytest.mark.parametrize(
    "garbage",
    [
        b"not json",
        b'{"type": "nonsense"}',
        b'{"type": "metric", "step": 1, "values": {"loss": NaN}}',
        b'{"type": "log", "text": "forged"}',
        b"[" * 100_000,
        b"\xff\xff",
        b'"text"',
        b'{"type": "progress", "stage": "x", "done": 1e999}',
        b'{"type": "progress", "stage": "\\ud800", "done": 1}',
        b'{"type": "progress", "stage": "\\u0000", "done": 1}',
    ],
)
def test_garbage_on_the_event_pipe_is_logged_and_harmless(tmp_path, garbage):
    code, events = record(
        tmp_path, f"os.write(fd, {garbage!r} + b'\\n'); emit(type='progress', stage='x', done=1)"
    )
    assert code == 0
    assert join_log(events) == garbage + b"\n"
    assert "progress" in {event.type for event in events}


def test_an_event_without_a_line_end_is_still_taken(tmp_path):
    body = b'{"type": "progress", "stage": "x", "done": 1}'
    _, events = record(tmp_path, f"os.write(fd, {body!r})")
    assert "progress" in {event.type for event in events}


def test_the_engine_names_its_own_failure(tmp_path):
    code, events = record(
        tmp_path,
        "emit(type='status', status='failed', reason='bad_data', message='Row 3.'); sys.exit(1)",
    )
    final = get_final(events)
    assert code == 1
    assert (final.reason, final.message, final.exit_code) == (Reason.BAD_DATA, "Row 3.", 1)


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"),
    [
        ("raise ValueError('no')", Reason.CRASHED, 1),
        ("os.kill(os.getpid(), signal.SIGSEGV)", Reason.CRASHED, -signal.SIGSEGV),
        ("os.kill(os.getpid(), signal.SIGKILL)", Reason.KILLED, -signal.SIGKILL),
    ],
)
def test_an_engine_that_dies_has_a_reason(tmp_path, code, reason, exit_code):
    status, events = record(tmp_path, f"print('last words', flush=True); {code}")
    final = get_final(events)
    assert status == 1
    assert (final.status, final.reason, final.exit_code) == (Status.FAILED, reason, exit_code)
    assert join_log(events).startswith(b"last words\n")


def test_a_command_that_does_not_exist_is_a_failed_launch(tmp_path):
    command = [sys.executable, "-m", "engine", "run", str(tmp_path), "--", "/no/such/engine"]
    assert subprocess.run(command, check=False).returncode == 1
    assert get_final(read_events(tmp_path)).reason == Reason.LAUNCH_FAILED


def test_a_placement_that_is_wrong_is_a_failed_launch_that_names_the_field(tmp_path):
    (tmp_path / "placement.json").write_text('{"run_dir": ".", "port": -1}')
    command = [sys.executable, "-m", "engine", "run", str(tmp_path), "--", "true"]
    assert subprocess.run(command, check=False).returncode == 1
    final = get_final(read_events(tmp_path))
    assert final.reason == Reason.LAUNCH_FAILED
    assert "port: must be at least 0" in final.message


@pytest.mark.parametrize("verb", ["run", "close"])
def test_a_folder_that_is_not_there_is_refused_in_words(tmp_path, capsys, verb):
    assert main([verb, str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.strip().endswith("is no folder: make the run first.")


def test_a_journal_that_cannot_grow_ends_the_run_and_stays_whole(tmp_path):
    (tmp_path / "child.py").write_text(
        "import time\nprint('first', flush=True)\ntime.sleep(0.5)\nwhile True: print('x' * 1000)"
    )
    recorder = f"ulimit -f 200; {sys.executable} -m engine run {tmp_path}"  # in units of 512 bytes
    command = f"{recorder} -- {sys.executable} {tmp_path}/child.py"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 1
    events = read_events(tmp_path)
    assert get_final(events).reason == Reason.DISK_FULL
    assert join_log(events).startswith(b"first\n")


def test_memory_over_the_limit_ends_the_run_and_names_both_numbers(tmp_path):
    code = f"print('big', flush=True); held = b'x' * (300 * 2**20); {WAIT_FOR_EVER}"
    _, events = record(tmp_path, code, memory_bytes=200 * 2**20)
    final = get_final(events)
    assert (final.status, final.reason) == (Status.FAILED, Reason.OUT_OF_MEMORY)
    assert "0.20 GiB" in final.message
    assert join_log(events) == b"big\n"


def test_memory_of_grandchildren_counts(tmp_path):
    code = (
        "import subprocess; subprocess.run([sys.executable, '-c', "
        f"'import signal; held = bytes(1) * (300 * 2**20); {WAIT_FOR_EVER}'])"
    )
    _, events = record(tmp_path, code, memory_bytes=200 * 2**20)
    assert get_final(events).reason == Reason.OUT_OF_MEMORY


def test_sigterm_stops_the_engine_which_may_finish_its_step(tmp_path):
    recorder = start_recorder(
        tmp_path,
        "signal.signal(signal.SIGTERM, lambda *a: (print('saved'), sys.exit(0)))\n"
        f"print('ready', flush=True); {WAIT_FOR_EVER}",
    )
    wait_for_log(tmp_path, b"ready")
    recorder.terminate()
    assert recorder.wait() == 0
    events = read_events(tmp_path)
    final = get_final(events)
    assert (final.status, final.reason) == (Status.STOPPED, Reason.STOPPED_BY_OWNER)
    assert join_log(events) == b"ready\nsaved\n"


def test_a_stop_carries_the_reason_it_was_given(tmp_path):
    recorder = start_recorder(tmp_path, f"print('ready', flush=True); {WAIT_FOR_EVER}")
    wait_for_log(tmp_path, b"ready")
    (tmp_path / "stop.json").write_text(
        '{"reason": "points_exhausted", "message": "No points are left."}'
    )
    recorder.terminate()
    recorder.wait()
    final = get_final(read_events(tmp_path))
    assert (final.reason, final.message) == (Reason.POINTS_EXHAUSTED, "No points are left.")


def test_an_engine_deaf_to_sigterm_is_stopped_all_the_same(tmp_path):
    recorder = start_recorder(
        tmp_path,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\nwhile True: time.sleep(1)",
    )
    wait_for_log(tmp_path, b"ready")
    recorder.terminate()
    recorder.wait()
    final = get_final(read_events(tmp_path))
    assert (final.status, final.exit_code) == (Status.STOPPED, -signal.SIGKILL)


def test_what_the_engine_leaves_behind_is_ended_with_it(tmp_path):
    code = (
        "import subprocess; child = subprocess.Popen([sys.executable, '-c', "
        f"'import signal; {WAIT_FOR_EVER}']); print(child.pid)"
    )
    _, events = record(tmp_path, code)
    pid = int(join_log(events))
    wait_for(lambda: not is_running(pid))


def test_a_run_starts_at_most_once(tmp_path):
    record(tmp_path, "print('once')")
    again = start_recorder(tmp_path, "print('twice')")
    error = again.communicate()[1]
    assert again.returncode == 3
    assert error.decode().strip().endswith("was started before; a run starts at most once")
    assert join_log(read_events(tmp_path)) == b"once\n"


def test_two_recorders_never_share_a_run(tmp_path):
    first = start_recorder(tmp_path, f"print('ready', flush=True); {WAIT_FOR_EVER}")
    wait_for_log(tmp_path, b"ready")
    second = start_recorder(tmp_path, "print('second')")
    second.communicate()
    assert second.returncode == 3
    first.terminate()
    first.wait()
    assert join_log(read_events(tmp_path)) == b"ready\n"


def test_a_killed_recorder_takes_the_engine_along_and_can_be_closed(tmp_path):
    recorder = start_recorder(tmp_path, f"print('ready', flush=True); {WAIT_FOR_EVER}")
    wait_for_log(tmp_path, b"ready")
    engine_pid = read_pids(tmp_path)["engine_pid"]
    assert close(tmp_path) == 3  # it lives
    os.kill(recorder.pid, signal.SIGKILL)
    recorder.wait()
    wait_for(lambda: not is_running(engine_pid))
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"seq":2,"time":1,"type":"log","te')  # torn by the kill
    assert close(tmp_path) == 0
    events = read_events(tmp_path)
    assert (get_final(events).status, get_final(events).reason) == (
        Status.FAILED,
        Reason.NODE_LOST,
    )
    assert join_log(events) == b"ready\n"


def test_closing_twice_changes_nothing(tmp_path):
    assert close(tmp_path, "stopped_by_owner") == 0
    before = (tmp_path / "events.jsonl").read_bytes()
    assert close(tmp_path, "node_lost") == 0
    assert (tmp_path / "events.jsonl").read_bytes() == before
    assert get_final(read_events(tmp_path)).status == Status.STOPPED


def test_a_closed_run_never_starts(tmp_path):
    close(tmp_path, "launch_failed")
    late = start_recorder(tmp_path, "print('late')")
    late.communicate()
    assert late.returncode == 3


def test_the_recorder_names_itself_and_the_engine(tmp_path):
    recorder = start_recorder(tmp_path, f"print(os.getpid(), flush=True); {WAIT_FOR_EVER}")
    pids = read_pids(tmp_path)
    assert pids["pid"] == recorder.pid
    wait_for_log(tmp_path, str(pids["engine_pid"]).encode())
    recorder.terminate()
    recorder.wait()


def test_the_recorder_loads_no_model_library():
    code = "import sys, engine.recorder, engine.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "transformers", "peft", "numpy"}.isdisjoint(done.stdout.split())
