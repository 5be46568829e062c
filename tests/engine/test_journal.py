"""The journal's pieces by themselves: cutting a byte stream, and closing what was left open."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import LOG_CHUNK_BYTES
from engine.journal import Journal, JournalFull, LogCutter, RunBusy, RunLock, close_run
from engine.status import Reason
from tests.engine.recorded import get_final, join_log, read_events

STREAMS = st.lists(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=50).map(lambda text: text.encode()),
        st.just(b"\n"),
        st.just("\u7089\u7075\r".encode()),
        st.integers(0, 3 * LOG_CHUNK_BYTES).map(lambda size: b"x" * size),
    ),
    max_size=12,
)
LOST = {"status": "failed", "reason": "node_lost", "message": "Gone."}


@given(STREAMS, st.data())
def test_pieces_joined_are_the_stream_however_it_is_taken(parts, data):
    cutter = LogCutter()
    pieces: list[bytes] = []
    for part in parts:
        cutter.feed(part)
        how = data.draw(st.sampled_from(["lines", "all", "wait"]))
        if how == "lines":
            pieces += cutter.take_lines()
        elif how == "all":
            pieces += cutter.take_all(final=False)
    pieces += cutter.take_all(final=True)
    assert b"".join(pieces) == b"".join(parts)
    assert all(0 < len(piece) <= LOG_CHUNK_BYTES for piece in pieces)


@given(st.text(max_size=40), st.integers(1, 5))
def test_text_is_cut_between_characters(text, step):
    encoded = text.encode()
    cutter = LogCutter()
    for start in range(0, len(encoded), step):
        cutter.feed(encoded[start : start + step])
        for piece in cutter.take_all(final=False):
            piece.decode()  # raises where a character was cut


def test_whole_lines_leave_and_the_rest_waits():
    cutter = LogCutter()
    cutter.feed(b"one\ntwo\nthr")
    assert cutter.take_lines() == [b"one\ntwo\n"]
    assert cutter.take_lines() == []
    assert cutter.take_all(final=False) == [b"thr"]


@given(log=st.binary(max_size=300), cut=st.integers(1, 400))
def test_a_run_torn_anywhere_closes_to_a_whole_file(tmp_path_factory, log, cut):
    run_dir = tmp_path_factory.mktemp("run")
    journal = Journal(run_dir)
    journal.append([{"type": "status", "status": "running"}])
    for byte in log:
        journal.append_log([bytes([byte])])
    path = run_dir / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert close_run(run_dir, LOST)
    events = read_events(run_dir)
    assert log.startswith(join_log(events))
    assert get_final(events).reason == Reason.NODE_LOST


def test_a_full_disk_leaves_whole_events(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.append_log([b"kept\n"])

    def write_a_little(fd, data):
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return real_write(fd, data[:-10])

    import engine.journal as module

    real_write = module.os.write
    monkeypatch.setattr(module.os, "write", write_a_little)
    with pytest.raises(JournalFull, match="No space"):
        journal.append_log([b"lost\n"])
    monkeypatch.undo()
    journal.finish(LOST)
    assert join_log(read_events(tmp_path)) == b"kept\n"


def test_a_journal_is_begun_once(tmp_path):
    Journal(tmp_path)
    with pytest.raises(RunBusy, match="at most once"):
        Journal(tmp_path)


def test_a_locked_run_is_not_closed(tmp_path):
    lock = RunLock(tmp_path)
    with pytest.raises(RunBusy, match="being recorded"):
        close_run(tmp_path, LOST)
    lock.release()
    assert close_run(tmp_path, LOST)


def test_watchers_see_what_is_written(tmp_path):
    seen: list[dict] = []
    journal = Journal(tmp_path, seen.append)
    journal.append([{"type": "progress", "stage": "train", "done": 1.0}])
    written = (tmp_path / "events.jsonl").read_text()
    assert json.loads(written) == seen[0]
