"""Golden masks: the ids of the model's own template, learnt where the assistant speaks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.inspect import paint_mask
from engine.data.render import IGNORED, Renderer
from engine.specs.problems import BadRow
from tests.engine.data.families import BY_NAME, FAMILIES, make_tokenizer

SYSTEM = {"role": "system", "content": "Be brief."}
TALK = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello there."},
    {"role": "user", "content": "\u4f60\u597d"},
    {"role": "assistant", "content": "\u60a8\u597d\u3002"},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_time",
            "description": "Tell the time.",
            "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
        },
    }
]
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "call12345",
            "type": "function",
            "function": {"name": "get_time", "arguments": {"zone": "UTC"}},
        }
    ],
}
RESULT = {"role": "tool", "content": "12:00", "tool_call_id": "call12345"}
TOOL_TALK = [
    {"role": "user", "content": "What time is it?"},
    CALL,
    RESULT,
    {"role": "assistant", "content": "Noon."},
]
# By template: the whole text as the format is published, what is learnt in [[ ]].
GOLDEN = {
    "smollm2": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\n[[Hello there.<|im_end|>]]\n<|im_start|>user\n\u4f60\u597d<|im_end|>\n"
    "<|im_start|>assistant\n[[\u60a8\u597d\u3002<|im_end|>]]\n",
    "internlm2": "<s><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\n[[Hello there.<|im_end|>]]\n<|im_start|>user\n\u4f60\u597d<|im_end|>\n"
    "<|im_start|>assistant\n[[\u60a8\u597d\u3002<|im_end|>]]\n",
    "llama2": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST][[ Hello there. </s>]]"
    "<s>[INST] \u4f60\u597d [/INST][[ \u60a8\u597d\u3002 </s>]]",
    "llama3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n[[Hello there.<|eot_id|>]]"
    "<|start_header_id|>user<|end_header_id|>\n\n\u4f60\u597d<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n[[\u60a8\u597d\u3002<|eot_id|>]]",
    "qwen2.5": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\n[[Hello there.<|im_end|>]]\n<|im_start|>user\n\u4f60\u597d<|im_end|>\n"
    "<|im_start|>assistant\n[[\u60a8\u597d\u3002<|im_end|>]]\n",
    "baichuan2": "Be brief.<reserved_106>Hi<reserved_107>[[Hello there.]][[</s>]]"
    "<reserved_106>\u4f60\u597d<reserved_107>[[\u60a8\u597d\u3002</s>]]",
    "chatglm3": "[gMASK]sop<|system|>\n Be brief.<|user|>\n Hi<|assistant|>[[\n Hello there.]]"
    "[[</s>]]<|user|>\n \u4f60\u597d<|assistant|>[[\n \u60a8\u597d\u3002</s>]]",
    "mistral-v3": "<s>[INST] Hi[/INST][[ Hello there.</s>]]"
    "[INST] \u4f60\u597d[/INST][[ \u60a8\u597d\u3002</s>]]",
    "mixtral": "<s> [INST] Hi [/INST][[ Hello there.</s>]]"
    " [INST] \u4f60\u597d [/INST][[ \u60a8\u597d\u3002</s>]]",
    "gemma": "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"
    "[[Hello there.<end_of_turn>]]\n<start_of_turn>user\n\u4f60\u597d<end_of_turn>\n"
    "<start_of_turn>model\n[[\u60a8\u597d\u3002<end_of_turn>]]\n",
    "phi3.5": "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\n"
    "[[Hello there.<|end|>]]\n<|user|>\n\u4f60\u597d<|end|>\n<|assistant|>\n"
    "[[\u60a8\u597d\u3002<|end|>\n<|endoftext|>]]",
    "deepseek-r1": "<|begin|>Be brief.<|User|>Hi<|Assistant|>[[Hello there.<|end_of_sentence|>]]"
    "<|User|>\u4f60\u597d<|Assistant|>[[\u60a8\u597d\u3002<|end_of_sentence|>]]",
}
# By tokenizer and template: tool calls are learnt, tools and their results never.
TOOL_GOLDEN = {
    ("internlm2", "internlm2-tools"): [
        "<|im_start|>assistant\n[[<|action_start|><|plugin|>\n"
        '{"name": "get_time", "parameters": {"zone": "UTC"}}<|action_end|><|im_end|>]]\n'
        "<|im_start|>environment name=<|plugin|>\n12:00<|im_end|>\n"
        "<|im_start|>assistant\n[[Noon.<|im_end|>]]\n"
    ],
    ("llama3", "llama3.1-tools"): [
        "assistant<|end_header_id|>\n\n"
        '[[{"name": "get_time", "parameters": {"zone": "UTC"}}<|eot_id|>]]'
        '<|start_header_id|>ipython<|end_header_id|>\n\n"12:00"<|eot_id|>'
        "<|start_header_id|>assistant<|end_header_id|>\n\n[[Noon.<|eot_id|>]]"
    ],
    ("qwen2.5", "qwen2.5"): [
        "<|im_start|>assistant\n[[<tool_call>\n"
        '{"name": "get_time", "arguments": {"zone": "UTC"}}\n</tool_call><|im_end|>]]\n'
        "<|im_start|>user\n<tool_response>\n12:00\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n[[Noon.<|im_end|>]]\n"
    ],
    ("mistral-v3", "mistral-v3"): [
        '[/INST][[[TOOL_CALLS] [{"name": "get_time", "arguments": {"zone": "UTC"}, '
        '"id": "call12345"}]</s>]]'
        '[TOOL_RESULTS] {"content": "12:00", "call_id": "call12345"}[/TOOL_RESULTS]'
        "[[ Noon.</s>]]"
    ],
}


def render(tokenizer, messages, tools=None, **options):
    renderer = Renderer(tokenizer, **{"max_length": 4096, **options})
    return renderer.render_turns(messages, row=0, tools=tools)


def paint(tokenizer, sample):
    return paint_mask(tokenizer, sample, marks=True).plain


def talk_of(family):
    return [SYSTEM, *TALK] if family.has_system else TALK


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_mask_covers_answers_and_their_end(family):
    tokenizer = make_tokenizer(family.name)
    [sample] = render(tokenizer, talk_of(family))
    assert paint(tokenizer, sample) == GOLDEN[family.name]
    assert sample.weights is None


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_ids_are_those_of_the_template(family):
    tokenizer = make_tokenizer(family.name)
    [sample] = render(tokenizer, talk_of(family))
    wanted = tokenizer.apply_chat_template(talk_of(family), tokenize=True, return_dict=False)
    wanted += [tokenizer.eos_token_id] * family.is_open
    assert list(sample.ids) == wanted


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_served_prompt_is_what_the_template_asks(family):
    tokenizer = make_tokenizer(family.name)
    messages = talk_of(family)[:-1]
    wanted = tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=False, add_generation_prompt=True
    )
    assert Renderer(tokenizer, max_length=4096).render_prompt(messages) == wanted


@pytest.mark.parametrize(("name", "template"), TOOL_GOLDEN)
def test_tool_calls_are_learnt_and_tools_and_results_are_not(name, template):
    tokenizer = make_tokenizer(name, template)
    samples = render(tokenizer, TOOL_TALK, TOOLS)
    painted = [paint(tokenizer, sample) for sample in samples]
    for text, golden in zip(painted, TOOL_GOLDEN[name, template], strict=True):
        assert text.endswith(golden)
        head = text.removesuffix(golden)
        assert "[[" not in head
        assert "Tell the time." in head
    wanted = tokenizer.apply_chat_template(TOOL_TALK, tools=TOOLS, tokenize=True, return_dict=False)
    assert list(samples[-1].ids) == wanted


def test_qwen3_learns_each_answer_behind_what_it_is_given_then():
    tokenizer = make_tokenizer("qwen2.5", "qwen3")
    first, second = (paint(tokenizer, sample) for sample in render(tokenizer, TALK))
    head = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert first == head + "[[<think>\n\n</think>\n\nHello there.<|im_end|>]]\n"
    assert second == (
        head + "Hello there.<|im_end|>\n<|im_start|>user\n\u4f60\u597d<|im_end|>\n"
        "<|im_start|>assistant\n[[<think>\n\n</think>\n\n\u60a8\u597d\u3002<|im_end|>]]\n"
    )


def test_qwen3_keeps_the_thoughts_between_a_call_and_its_answer_in_one_sample():
    tokenizer = make_tokenizer("qwen2.5", "qwen3")
    thinking = [dict(turn) for turn in TOOL_TALK]
    thinking[1]["reasoning_content"] = "A clock helps."
    thinking[3]["reasoning_content"] = "It is noon."
    [sample] = render(tokenizer, thinking, TOOLS)
    text = paint(tokenizer, sample)
    assert "[[<think>\nA clock helps.\n</think>\n\n" in text
    assert text.endswith("[[<think>\nIt is noon.\n</think>\n\nNoon.<|im_end|>]]\n")


def test_mistral_moves_the_tools_so_each_question_has_its_sample():
    tokenizer = make_tokenizer("mistral-v3")
    samples = render(tokenizer, [*TOOL_TALK, *TALK[2:]], TOOLS)
    texts = [paint(tokenizer, sample) for sample in samples]
    assert len(texts) == 2
    assert texts[0].count("[[") == 2
    assert texts[1].endswith("[/INST][[ \u60a8\u597d\u3002</s>]]")
    assert all(text.count("[AVAILABLE_TOOLS]") == 1 for text in texts)


@pytest.mark.parametrize("name", ["gemma", "mistral-v3"])
def test_a_row_that_the_template_refuses_is_a_problem_in_words(name):
    with pytest.raises(BadRow) as caught:
        render(make_tokenizer(name), [SYSTEM, *TALK])
    [problem] = caught.value.problems
    assert problem.code == "template_refused"
    assert "upported" in problem.problem


def test_weights_are_those_of_the_messages():
    tokenizer = make_tokenizer("qwen2.5")
    talk = [dict(turn) for turn in TALK]
    talk[0]["loss_weight"] = 0.25
    talk[1]["loss_weight"] = 0
    talk[3]["loss_weight"] = 2
    [sample] = render(tokenizer, talk)
    assert "[[0.25: Hi<|im_end|>]]" in paint(tokenizer, sample)
    assert paint(tokenizer, sample).endswith("[[2: \u60a8\u597d\u3002<|im_end|>]]\n")
    assert paint(tokenizer, sample).count("[[") == 2
    assert sample.supervised_weight == pytest.approx(
        0.25 * sample.weights.count(0.25) + 2 * sample.weights.count(2)
    )


def test_a_row_whose_weights_are_zero_teaches_nothing():
    talk = [TALK[0], {**TALK[1], "loss_weight": 0}]
    assert render(make_tokenizer("qwen2.5"), talk) == ()


def test_a_tokenizer_without_an_end_is_told():
    tokenizer = make_tokenizer("baichuan2").__class__(
        tokenizer_object=make_tokenizer("baichuan2").backend_tokenizer,
        chat_template=make_tokenizer("baichuan2").chat_template,
    )
    renderer = Renderer(tokenizer, max_length=99)
    renderer.end_ids = frozenset()
    renderer.render_turns(TALK, row=0)
    assert renderer.num_without_end == 2


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=20)
CLEAN = WORDS.filter(lambda text: text == text.strip() and not set("<[|]>") & set(text))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@given(st.lists(st.tuples(CLEAN, CLEAN), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_whatever_is_said_just_the_answers_are_learnt(family, pairs):
    tokenizer = make_tokenizer(family.name)
    messages = []
    for asked, answered in pairs:
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": answered})
    [sample] = render(tokenizer, messages)
    text = tokenizer.decode([label for label in sample.labels if label != IGNORED])
    end = family.end or family.eos
    space = {"llama2": " ", "mixtral": " ", "mistral-v3": " ", "chatglm3": "\n "}
    wanted = "".join(f"{space.get(family.name, '')}{answered}{end}" for _, answered in pairs)
    assert text.removesuffix("\n<|endoftext|>") == wanted


def test_every_family_has_a_golden_text():
    assert set(GOLDEN) == set(BY_NAME)


class Slow:
    """A tokenizer that cannot tell where its tokens lie in the text."""

    def __init__(self, inner):
        self._inner = inner
        self.is_fast = False

    def __getattr__(self, name):
        return getattr(self._inner, name)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_tokenizer_without_offsets_gives_the_same(family):
    tokenizer = make_tokenizer(family.name)
    assert render(Slow(tokenizer), talk_of(family)) == render(tokenizer, talk_of(family))
