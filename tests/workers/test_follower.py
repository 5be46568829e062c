"""The follower hands out whole lines in order, whatever the file and the studio do."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import EVENTS, Log
from workers.follower import Follower, Line, as_log, make_body


def make_stream(pieces: list[str]) -> bytes:
    events = [Log(seq=i, time=1.0, text=text) for i, text in enumerate(pieces)]
    return b"".join(event.model_dump_json(exclude_none=True).encode() + b"\n" for event in events)


def read_texts(lines: list[Line]) -> list[str]:
    return [json.loads(line.data)["text"] for line in lines]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("follower") / "events.jsonl"


def test_a_file_that_is_not_there_yet_has_no_lines(tmp_path: Path) -> None:
    assert Follower(tmp_path / "events.jsonl").peek() == []


def test_a_torn_last_line_waits_for_its_end(path: Path) -> None:
    stream = make_stream(["a", "b"])
    path.write_bytes(stream[:-4])
    follower = Follower(path)
    assert read_texts(follower.peek()) == ["a"]
    path.write_bytes(stream)
    assert read_texts(follower.peek()) == ["a", "b"]


def test_a_batch_is_bounded_in_events_and_bytes_but_never_empty(path: Path) -> None:
    path.write_bytes(make_stream(["x" * 5000, "y", "z"]))
    follower = Follower(path)
    assert len(follower.peek(max_events=2)) == 2
    assert read_texts(follower.peek(max_bytes=100)) == ["x" * 5000]


def test_seek_goes_back_and_on_and_says_when_the_file_ends(path: Path) -> None:
    path.write_bytes(make_stream(["a", "b", "c"]))
    follower = Follower(path)
    assert follower.seek(2)
    assert read_texts(follower.peek()) == ["c"]
    assert follower.seek(0)
    assert read_texts(follower.peek()) == ["a", "b", "c"]
    assert not follower.seek(4)
    assert follower.seek(3)
    assert follower.peek() == []


@settings(deadline=None, max_examples=150)
@given(
    texts=st.lists(st.text(max_size=40), min_size=1, max_size=20),
    cuts=st.lists(st.integers(1, 300), min_size=1, max_size=30),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    losses=st.dictionaries(st.integers(0, 30), st.integers(0, 20), max_size=4),
)
def test_every_line_arrives_once_under_random_cuts_batch_sizes_and_losses(
    path: Path, texts: list[str], cuts: list[int], sizes: list[int], losses: dict[int, int]
) -> None:
    stream, written, stored = make_stream(texts), 0, []
    path.write_bytes(b"")
    follower = Follower(path)
    for turn in itertools.count():
        with path.open("ab") as file:
            written += file.write(stream[written : written + cuts[turn % len(cuts)]])
        lines = follower.peek(max_events=sizes[turn % len(sizes)], max_bytes=64)
        assert [line.seq for line in lines] == list(range(follower.seq, follower.seq + len(lines)))
        stored += read_texts(lines)
        del stored[max(0, len(stored) - losses.get(turn, 0)) :]  # a studio restored from backup
        assert follower.seek(len(stored))
        if written == len(stream) and not follower.peek() and turn > max(losses, default=0):
            break
    assert stored == texts


def test_a_body_is_the_lines_as_they_were_written(path: Path) -> None:
    path.write_bytes(make_stream(["a\r\n", 'quote " and \u2028']))
    body = json.loads(make_body(Follower(path).peek(), now=12.5, alive=True))
    assert (body["now"], body["alive"]) == (12.5, True)
    events = EVENTS.validate_python(body["events"])
    assert [e.to_bytes().decode() for e in events] == ["a\r\n", 'quote " and \u2028']


def test_a_line_a_broken_disk_has_spoilt_travels_as_log(path: Path) -> None:
    path.write_bytes(make_stream(["a"]) + b'{"seq": 1, \xff\n')
    body = json.loads(make_body(Follower(path).peek(), now=1.0, alive=True))
    spoilt = EVENTS.validate_python(body["events"])[1]
    assert (spoilt.seq, spoilt.to_bytes()) == (1, b'{"seq": 1, \xff')


def test_an_unreadable_event_becomes_log_with_the_same_number() -> None:
    event = json.loads(as_log(Line(7, b'{"type":"hologram"}', 20), 3.0).data)
    assert EVENTS.validate_python([event])[0].to_bytes() == b'{"type":"hologram"}'
    assert event["seq"] == 7
