"""The two results of `make results`, shrunken: the real model does learn, and not by heart."""

import pytest

from bench.results import (
    Settings,
    Split,
    measure_pretraining,
    split_docs,
    split_shipped,
)


def test_no_question_is_both_learnt_and_asked():
    split = split_shipped(17)
    learnt, asked = (
        {row["messages"][0]["content"] for row in rows} for rows in (split.trained, split.held)
    )
    assert not learnt & asked
    # Every answer that is asked for is learnt from other questions, in both languages.
    answers = {row["messages"][1]["content"] for row in split.trained}
    wanted = {row["messages"][1]["content"] for row in split.held}
    assert wanted <= answers
    assert {text.isascii() for text in wanted} == {True, False}
    assert split.digest() == split_shipped(17).digest() != split_shipped(18).digest()


def test_no_page_is_both_learnt_and_measured():
    split = split_docs(17)
    learnt, held = ({row["text"] for row in rows} for rows in (split.trained, split.held))
    assert len(held) > 5 and len(learnt) > 30 and not learnt & held


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_real_model_finds_new_text_likelier(tmp_path, smollm2):
    """Six steps on a few pages. Answers to new questions take minutes: `make results` asks them."""
    docs = split_docs(17)
    few = Split(docs.trained[:8], [{"text": row["text"][:1500]} for row in docs.held[:3]])
    changes = {"max_steps": 6, "tokens_per_step": 512, "micro_batch_tokens": 512}
    told = measure_pretraining(few, Settings(smollm2, tmp_path, changes=changes))
    assert told["after"] < 0.95 * told["before"]
