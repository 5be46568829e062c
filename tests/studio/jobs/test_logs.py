"""The log read back: by line, by word, as bytes, whatever the pieces it came in."""

import pytest
from asgiref.sync import async_to_sync
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.jobs import logs
from studio.jobs.logs import read_lines, search_lines, stream_bytes
from studio.jobs.models import Run, RunEvent
from tests.factories import make_claimed_run
from tests.studio.jobs.test_ingest import post, say, start

pytestmark = pytest.mark.django_db


def make_log(owner, *pieces: bytes) -> Run:
    run = make_claimed_run(owner)
    post(run, start(), *(say(seq, piece) for seq, piece in enumerate(pieces, start=1)))
    run.refresh_from_db()
    return run


def test_lines_are_counted_across_pieces(alice):
    run = make_log(alice, b"one\ntw", b"o\nthree", b"\nfour")
    page = read_lines(run, from_line=1, limit=2)
    assert (page.first_line, page.lines) == (1, ["two", "three"])
    assert run.log_lines == 4


def test_a_negative_line_counts_from_the_end(alice):
    run = make_log(alice, b"one\ntwo\n", b"three\nfour\n")
    assert read_lines(run, from_line=-2, limit=10).lines == ["three", "four"]


def test_reading_past_the_end_is_an_empty_page(alice):
    run = make_log(alice, b"one\n")
    page = read_lines(run, from_line=9, limit=10)
    assert (page.first_line, page.lines) == (1, [])


def test_a_run_that_said_nothing_has_no_lines(alice):
    assert read_lines(make_log(alice), from_line=-5, limit=10).lines == []


def test_a_carriage_return_is_part_of_its_line(alice):
    run = make_log(alice, b"10%\r20%\r30%\ndone\n")
    assert read_lines(run, from_line=0, limit=10).lines == ["10%\r20%\r30%", "done"]


def test_a_character_cut_between_pieces_is_whole_again(alice):
    text = "\u7089\u7075\n".encode()
    run = make_log(alice, text[:2], text[2:])
    assert read_lines(run, from_line=0, limit=1).lines == ["\u7089\u7075"]


def test_a_page_of_huge_lines_ends_early(alice):
    run = make_log(alice, *[b"x" * 65_535 + b"\n"] * 100)
    page = read_lines(run, from_line=0, limit=100)
    assert 1 <= len(page.lines) < 100


def test_of_an_endless_line_the_page_holds_the_beginning(alice, monkeypatch):
    monkeypatch.setattr(logs, "_MOST_LINE_BYTES", 6)
    run = make_log(alice, b"10%\r20", b"%\r30%\r", b"40%\nshort\nnever end", b"s")
    page = read_lines(run, from_line=0, limit=10)
    said = "{} [+{} bytes, in the download]"
    assert page.lines == [said.format("10%\r20", 9), "short", said.format("never ", 4)]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_download_ends_where_it_was_said_to(alice):
    run = make_log(alice, b"one\n", b"two\n")
    post(run, say(3, b"said after the answer began\n"))

    async def read_all() -> bytes:
        return b"".join([part async for part in stream_bytes(run)])

    assert async_to_sync(read_all)() == b"one\ntwo\n"


def test_a_search_counts_lines_and_ignores_case(alice):
    run = make_log(alice, b"Loss 1\nlos", b"s 2\nnothing\nLOSS LOSS\n")
    count, matches = search_lines(run, query="loss", limit=2)
    assert count == 3
    assert [(match.line, match.text) for match in matches] == [(0, "Loss 1"), (1, "loss 2")]


def test_a_search_finds_chinese(alice):
    run = make_log(alice, "a\n\u635f\u5931 2.1\n".encode())
    assert search_lines(run, query="\u635f\u5931", limit=9)[0] == 1


def test_a_found_line_of_a_megabyte_is_shown_around_the_find(alice):
    run = make_log(alice, *[b"x" * 65_536] * 16, b"needle", b"y" * 65_536)
    _, matches = search_lines(run, query="needle", limit=1)
    assert "needle" in matches[0].text
    assert len(matches[0].text) <= 2000


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pieces=st.lists(
        st.text("ab\n\r", min_size=1, max_size=9).map(str.encode), min_size=1, max_size=9
    ),
    from_line=st.integers(-12, 12),
    limit=st.integers(1, 6),
)
def test_any_page_is_what_splitting_the_whole_log_gives(alice, pieces, from_line, limit):
    RunEvent.objects.all().delete()
    Run.objects.all().delete()
    run = make_log_once(alice, pieces)
    lines = b"".join(pieces).split(b"\n")
    if not lines[-1]:
        lines.pop()
    first = max(0, len(lines) + from_line) if from_line < 0 else min(from_line, len(lines))
    page = read_lines(run, from_line=from_line, limit=limit)
    assert page.first_line == first
    assert page.lines == [line.decode() for line in lines[first : first + limit]]


def make_log_once(owner, pieces: list[bytes]) -> Run:
    from studio.compute.models import Node

    Node.objects.all().delete()
    return make_log(owner, *pieces)
