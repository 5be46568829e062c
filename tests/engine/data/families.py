"""Model families as tests know them: special tokens, how text is cut, and the chat template.

The tokenizers are small and made here, since none can be fetched; each has the special tokens of
its family and its way with spaces. The templates are our own words for the published formats.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEMPLATES = Path(__file__).parent / "templates"
CORPUS = [
    "Hello there. Hi, how are you? Be brief. [INST] What is it? [/INST] It is a test.",
    "<<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello there.",
    '{"name": "get_time", "arguments": {"zone": "UTC"}} user assistant system model',
    "您好。你好，很高兴见到你。",
] * 4


@dataclass(frozen=True)
class Family:
    """What tells one family from another."""

    template: str
    specials: tuple[str, ...]
    bos: str | None
    eos: str
    end: str
    """What the template puts behind an answer, and is learnt."""
    is_byte_level: bool = True
    has_system: bool = True
    is_open: bool = False
    """Whether the template ends no turn, so that the end is put there."""

    @property
    def name(self) -> str:
        return self.template


IM = ("<|im_start|>", "<|im_end|>")
FAMILIES = [
    Family("smollm2", ("<|endoftext|>", *IM), "<|im_start|>", "<|im_end|>", "<|im_end|>"),
    Family("internlm2", ("<s>", "</s>", *IM), "<s>", "</s>", "<|im_end|>", is_byte_level=False),
    Family("llama2", ("<s>", "</s>"), "<s>", "</s>", " </s>", is_byte_level=False),
    Family(
        "llama3",
        ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|eot_id|>",
    ),
    Family("qwen2.5", ("<|endoftext|>", *IM), None, "<|im_end|>", "<|im_end|>"),
    Family(
        "baichuan2",
        ("<s>", "</s>", "<reserved_106>", "<reserved_107>"),
        "<s>",
        "</s>",
        "",
        is_byte_level=False,
        is_open=True,
    ),
    Family(
        "chatglm3",
        ("[gMASK]", "sop", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
        None,
        "</s>",
        "",
        is_byte_level=False,
        is_open=True,
    ),
    Family(
        "mistral-v3",
        ("<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]")
        + ("[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
        "<s>",
        "</s>",
        "</s>",
        is_byte_level=False,
        has_system=False,
    ),
    Family("mixtral", ("<s>", "</s>"), "<s>", "</s>", "</s>", False, has_system=False),
    Family(
        "gemma",
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        "<bos>",
        "<eos>",
        "<end_of_turn>",
        is_byte_level=False,
        has_system=False,
    ),
    Family(
        "phi3.5",
        ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        None,
        "<|endoftext|>",
        "<|end|>",
    ),
    Family(
        "deepseek-r1",
        ("<|begin|>", "<|end_of_sentence|>", "<|User|>", "<|Assistant|>"),
        "<|begin|>",
        "<|end_of_sentence|>",
        "<|end_of_sentence|>",
    ),
]
BY_NAME = {family.name: family for family in FAMILIES}
# Templates of these change what stands before: each answer needs a sample of its own.
REWRITING = {"qwen3": "qwen2.5"}


@cache
def make_tokenizer(name: str, template: str = "") -> PreTrainedTokenizerFast:
    """Make a family's tokenizer, with another template of it where one is named."""
    family = BY_NAME[name]
    build = _make_bytes if family.is_byte_level else _make_metaspace
    return PreTrainedTokenizerFast(
        tokenizer_object=build(family.specials),
        bos_token=family.bos,
        eos_token=family.eos,
        chat_template=(TEMPLATES / f"{template or family.template}.jinja").read_text(),
        clean_up_tokenization_spaces=False,
    )


def _make_bytes(specials: tuple[str, ...]) -> Tokenizer:
    """As GPT-2, Llama 3 and Qwen: bytes, joined by merges that were learnt."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _make_metaspace(specials: tuple[str, ...]) -> Tokenizer:
    """As SentencePiece in Llama 2 and its like: no token crosses a space; the rest is bytes."""
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "\u2581")
    learner.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=160, show_progress=False)
    learner.train_from_iterator(CORPUS, trainer)
    learnt = sorted(learner.get_vocab(), key=learner.get_vocab().__getitem__)
    vocab = {token: index for index, token in enumerate(dict.fromkeys([*specials, *bytes_]))}
    for token in learnt:
        vocab.setdefault(token, len(vocab))
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(list(specials))
    return tokenizer
