"""What is learnt of a conversation: the assistant's words and their end, under any template."""

import pytest

from engine.data.render import IGNORED, Renderer
from engine.errors import EngineError
from engine.models.tiny import make_tokenizer

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "你好"},
    {"role": "assistant", "content": "您好。"},
]
# Templates of other families, in our own words: what matters is where turns begin and end.
LLAMA_LIKE = (
    "{{ bos_token if bos_token else '' }}{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\n\n' + m['content'] | trim + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n\n' }}{% endif %}"
)
BARE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] + '<|im_end|>' }}"
    "{% else %}{{ '[' + m['content'] + ']' }}{% endif %}{% endfor %}"
)
ONLY_LAST_THINKS = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if loop.last and m['role'] == 'assistant' %}{{ '<think></think>' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think></think>' }}{% endif %}"
)


def render(messages, template=None, max_length=512):
    tokenizer = make_tokenizer()
    if template:
        tokenizer.chat_template = template
    sample = Renderer(tokenizer, max_length=max_length).render(messages, row=0)
    learnt = [label for label in sample.labels if label != IGNORED]
    return tokenizer, sample, tokenizer.decode(learnt)


@pytest.mark.parametrize("template", [None, LLAMA_LIKE, BARE])
def test_only_answers_and_their_end_are_learnt(template):
    _, _, learnt = render(TALK, template)
    assert learnt == "Hello.<|im_end|>您好。<|im_end|>"


def test_ids_are_those_of_the_template():
    tokenizer, sample, _ = render(TALK)
    whole = tokenizer.apply_chat_template(TALK, tokenize=False)
    assert list(sample.ids) == tokenizer.encode(whole, add_special_tokens=False)


def test_a_label_is_the_id_at_its_place():
    _, sample, _ = render(TALK)
    assert all(
        label in (IGNORED, index) for index, label in zip(sample.ids, sample.labels, strict=True)
    )


def test_what_follows_the_last_answer_is_not_trained():
    _, sample, _ = render([*TALK, {"role": "user", "content": "more"}])
    assert sample.ids == render(TALK)[1].ids


def test_a_long_sample_is_cut():
    _, sample, _ = render(TALK, max_length=20)
    assert len(sample.ids) == len(sample.labels) == 20


def test_a_template_that_rewrites_earlier_turns_is_refused_in_words():
    with pytest.raises(EngineError, match="row 1 cannot be masked turn by turn"):
        render(TALK, ONLY_LAST_THINKS)
