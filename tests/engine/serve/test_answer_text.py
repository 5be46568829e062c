"""Text that comes token by token is the text of all tokens, whole characters only, up to a stop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.models.tiny import make_tokenizer
from engine.serve.answer_text import StopText, TokenText

TOKENIZER = make_tokenizer()


def decode(ids):
    return TOKENIZER.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def metaspace(ids):
    """A decoder that, like SentencePiece's, drops the space at the start of a text."""
    return "".join(f" w{index}" for index in ids)[1:]


@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=40))
def test_pieces_joined_are_the_text_of_all_tokens(ids):
    text = TokenText(decode)
    assert "".join([*map(text.push, ids), text.flush()]) == decode(ids)


@given(st.text(max_size=20))
def test_no_character_is_cut(said):
    text = TokenText(decode)
    pieces = [text.push(index) for index in TOKENIZER.encode(said, add_special_tokens=False)]
    assert all("\ufffd" not in piece or "\ufffd" in said for piece in pieces)
    assert "".join([*pieces, text.flush()]) == said


@pytest.mark.parametrize("token", ["\u00e4", "<|im_end|>"])
def test_an_answer_of_broken_bytes_or_no_text_is_not_decoded_ever_longer(token):
    first = TOKENIZER.encode(token, add_special_tokens=False)[0]  # half a letter, or no text
    longest = 0

    def watch(ids):
        nonlocal longest
        longest = max(longest, len(ids))
        return decode(ids)

    text = TokenText(watch)
    pieces = [text.push(first) for _ in range(1000)]
    assert "".join([*pieces, text.flush()]) == decode([first] * 1000)
    assert longest < 200


def test_spaces_between_words_survive():
    text = TokenText(metaspace)
    assert [text.push(index) for index in (1, 2, 3)] == ["w1", " w2", " w3"]


@given(st.text(alphabet="abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4)))
def test_text_ends_before_the_first_stop(said, stops):
    filtered = StopText(stops)
    pieces = [filtered.push(character) for character in said]
    given_text = "".join(pieces) + filtered.flush()
    # The stop that is complete first wins; of several complete at once the one that starts first.
    ends = [n for n in range(len(said) + 1) if any(said[:n].endswith(stop) for stop in stops)]
    if not ends:
        assert given_text == said
        assert not filtered.is_hit
    else:
        head = said[: ends[0]]
        assert given_text == head[: min(head.find(s) for s in stops if s in head)]
        assert filtered.is_hit


def test_only_a_possible_stop_is_held_back():
    filtered = StopText(["\n\n"])
    assert filtered.push("one\n") == "one"
    assert filtered.push("two") == "\ntwo"


@pytest.mark.parametrize("stops", [(), ("",)])
def test_without_stops_nothing_is_held_back(stops):
    assert StopText(stops).push("anything") == "anything"
