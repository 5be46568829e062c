"""Steps that are asked for before the tokens of the last are read: really so, and to no harm.

All of test_loop.py runs this way as well.
"""

import numpy as np
import pytest
import torch

from engine.serve.ahead import UnreadTokens
from engine.serve.backend import Sampling
from engine.serve.decoder.families import read_model
from engine.serve.decoder.torch_decoder import TorchDecoder
from engine.serve.sampling import History, draw_tokens, draw_unread
from tests.engine.serve.decoder.cases import save_case
from tests.engine.serve.fake_decoder import (
    VOCAB_SIZE,
    FakeDecoder,
    ask,
    make_ticket,
    open_loop,
)

LENGTH = Sampling(max_tokens=9, temperature=0, logit_bias=((0, -100.0),))
PLAIN = Sampling(max_tokens=9, temperature=0)
FALL = 50  # a prompt that begins so comes to grief at its sixth token


class Ahead(FakeDecoder):
    """Tells when it is asked, and for what."""

    goes_ahead = True

    def __init__(self, fall: str = "", **options) -> None:
        super().__init__(**options)
        self.news: list[str] = []
        self._fall = fall

    def forward(self, batch):
        self.news.append("known" if batch.unread_ids_N is None else "unread")
        histories, _ = self._write(batch)
        if self._fall == "raise" and any(map(self._falls, histories)):
            raise RuntimeError("as told")
        rows = [self._make_logits(*histories[row]) for row in batch.logits_rows_R.tolist()]
        for row, place in enumerate(batch.logits_rows_R.tolist()):
            if self._fall == "nan" and self._falls(histories[place]):
                rows[row][:] = float("nan")
        return torch.stack(rows) if rows else torch.empty(0, VOCAB_SIZE)

    @staticmethod
    def _falls(history) -> bool:
        return history[0][0] == FALL and len(history[0]) == 6


@pytest.fixture
def news(monkeypatch):
    """What a decoder of the test was asked for and when its tokens were read, in order."""
    decoder = Ahead()
    read = UnreadTokens.read

    def tell(tokens):
        decoder.news.append("read")
        return read(tokens)

    monkeypatch.setattr(UnreadTokens, "read", tell)
    return decoder


def test_a_step_is_asked_for_before_the_tokens_of_the_last_are_read(news):
    with open_loop(news) as loop:
        text = ask(loop, [1, 2, 3], Sampling(max_tokens=5, temperature=0.5, seed=1))
        assert loop.counts.num_steps == 5
    with open_loop(FakeDecoder()) as loop:
        assert ask(loop, [1, 2, 3], Sampling(max_tokens=5, temperature=0.5, seed=1)) == text
    assert len(text) == 5, "it ended early: take another seed"
    # The prompt's step, a step of one token, and each further one before the last is read.
    assert news.news == ["known", "known", *["unread", "read"] * 3, "read"]


def test_what_ends_costs_one_step_more_at_most_and_nobody_sees_it(news):
    hot = Sampling(max_tokens=60, temperature=1.0, seed=3)
    prompts = [[first, 2] for first in range(1, 9)]
    alone = []
    for prompt in prompts:
        with open_loop(FakeDecoder()) as loop:
            alone.append(ask(loop, prompt, hot))
    with open_loop(news) as loop:
        entered = [make_ticket(prompt, hot) for prompt in prompts]
        for ticket, _ in entered:
            loop.enter(ticket)
        assert [answer.read()[0] for _, answer in entered] == alone
        ended = [text for text in alone if len(text) < 60]
        assert loop.counts.num_tokens == sum(map(len, alone)) + len(ended)  # by a token each
    assert ended, "none ended by itself: take another seed"


@pytest.mark.parametrize(
    "sampling",
    [
        LENGTH,
        Sampling(max_tokens=9, temperature=0, num_logprobs=2),
        Sampling(max_tokens=9, temperature=0, repetition_penalty=1.2),
        Sampling(max_tokens=9, temperature=1, seed=1, top_p=0.9),
    ],
    ids=["bias", "logprobs", "penalty", "nucleus"],
)
def test_a_draw_that_needs_more_than_the_logits_waits_for_the_tokens_before_it(news, sampling):
    with open_loop(news) as loop:
        ask(loop, [1, 2, 3], sampling)
    assert set(news.news) == {"known"}


@pytest.mark.parametrize("fall", ["raise", "nan"])
def test_who_comes_to_grief_on_the_way_ends_alone(fall):
    prompts = [[1, 2], [FALL, 3], [4, 5], [6, 7]]
    alone = []
    for prompt in prompts:
        with open_loop(FakeDecoder()) as loop:
            alone.append(ask(loop, prompt, PLAIN))
    assert len(alone[1]) > 4, "it ended before: take another prompt"
    with open_loop(Ahead(fall)) as loop:
        entered = [make_ticket(prompt, PLAIN) for prompt in prompts]
        for ticket, _ in entered:
            loop.enter(ticket)
        read = [answer.read() for _, answer in entered]
        assert [text for text, _ in (read[0], *read[2:])] == [alone[0], *alone[2:]]
        text, last = read[1]
        assert last.finish == "error" and alone[1].startswith(text) and len(text) == 4
        assert loop.is_healthy() and loop.counts.num_failed == 1


def test_what_is_drawn_ahead_is_what_is_drawn_behind():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(40, 700, generator=generator)
    kinds = [
        {"temperature": 0.0},
        {"temperature": 0.8},
        {"temperature": 1.2, "top_p": 0.7, "top_k": 512},
        {"temperature": 1.0, "top_k": 5, "min_p": 0.05},
    ]
    histories = [
        History(Sampling(max_tokens=9, seed=row, **kinds[row % 4])) for row in range(len(logits))
    ]
    ahead, is_finite = draw_unread(logits.clone(), histories, num_unread=1)
    for history in histories:
        history.add(7)  # the token that nobody had read
    assert ahead.tolist() == [each.token_id for each in draw_tokens(logits, histories)]
    assert bool(is_finite.all())
    broken = logits.clone()
    broken[3, 5], broken[9] = float("nan"), float("inf")
    ahead, is_finite = draw_unread(broken, histories, num_unread=0)
    assert np.flatnonzero(~is_finite.numpy()).tolist() == [3, 9]
    good = [row for row in range(40) if row not in (3, 9)]
    drawn = draw_tokens(logits, histories)
    assert ahead[good].tolist() == [drawn[row].token_id for row in good]


@pytest.mark.parametrize("case", ["llama", "mixtral"])
def test_a_real_decoder_answers_the_same(tmp_path, case):
    save_case(tmp_path, case)
    shape, weights = read_model(tmp_path, dtype=torch.float32)
    prompts = [[3, 5, 8], [13, 21, 34, 55], [89], [2, 4, 6, 8, 10, 12]]
    hot = Sampling(max_tokens=20, temperature=0.9, top_p=0.9, top_k=40, seed=4)
    said = []
    for goes_ahead in (False, True):
        decoder = TorchDecoder(shape, weights, num_blocks=40, block_size=4)
        decoder.goes_ahead = goes_ahead
        with open_loop(decoder) as loop:
            entered = [
                make_ticket(prompt, hot if number % 2 else Sampling(max_tokens=20, temperature=0))
                for number, prompt in enumerate(prompts)
            ]
            for ticket, _ in entered:
                loop.enter(ticket)
            said.append([answer.read()[0] for _, answer in entered])
    assert said[0] == said[1]
    assert max(map(len, said[0])) == 20
