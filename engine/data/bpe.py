"""Trains a byte-level BPE tokenizer on the words of datasets, whatever format their rows have.

Any text comes back from its tokens as it was: nothing is normalized, and every byte is a token.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from jinja2 import TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from engine.data.build import find_format, iter_canonical
from engine.data.files import find_files
from engine.data.prepare import Located
from engine.errors import EngineError
from engine.specs.scratch import TokenizerOptions
from engine.specs.turns import ConversationRow, PreferenceRow, Row
from engine.status import Reason

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_CHATML_TOKENS = {"<|im_start|>", "<|im_end|>"}
# Where words may be cut, as Qwen 2's tokenizer has it: digits stand alone, a space goes with the
# word behind it, Chinese is not cut from what is beside it by spaces that it lacks.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# More text moves few merges; what is counted is kept in memory, word by word.
_MOST_TEXT = 2**30
_LONGEST_PIECE = 2**20


def train_tokenizer(
    sources: Sequence[Located], options: TokenizerOptions
) -> PreTrainedTokenizerFast:
    """Train on the words of all sources, on the first part of each file where there is much.

    The same words and options give the same tokenizer.

    Raises:
        EngineError: bad_data, where no row has words; bad_spec, for a template that is none.
    """
    _check_template(options)
    pipeline = Tokenizer(models.BPE())
    pipeline.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    pipeline.decoder = decoders.ByteLevel()
    counted = _Counted(iter_texts(sources))
    pipeline.train_from_iterator(
        counted,
        trainers.BpeTrainer(
            vocab_size=options.vocab_size,
            special_tokens=list(options.special_tokens),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if not counted.num_texts:
        raise EngineError(
            Reason.BAD_DATA, "dataset: it has no words to train a tokenizer on: add rows of text."
        )
    return _wrap(pipeline, options)


def iter_texts(sources: Sequence[Located]) -> Iterator[str]:
    """Yield the words of all good rows, in the files' order."""
    files = [
        (found, one)
        for one in sources
        for found in find_files(one.path, split=one.source.split, patterns=one.source.files)
    ]
    for path, one in files:
        left = _MOST_TEXT // len(files)
        for _, row, problems in iter_canonical(path, find_format(path, one.source.format)):
            if row is None or problems:
                continue  # the data contract tells of them
            for text in _list_texts(row):
                for start in range(0, len(text), _LONGEST_PIECE):
                    yield text[start : start + _LONGEST_PIECE]
                left -= len(text)
            if left <= 0:
                break


class _Counted:
    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts
        self.num_texts = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.num_texts += 1
            yield text


def _list_texts(row: Row) -> list[str]:
    if isinstance(row, ConversationRow):
        return [_get_words(message) for message in row.messages]
    if isinstance(row, PreferenceRow):
        turns = [*row.prompt, *row.chosen, *row.rejected]
        return [_get_words(message) for message in turns]
    return [row.text]


def _get_words(message: dict[str, Any]) -> str:
    return message.get("content") or ""


def _wrap(pipeline: Tokenizer, options: TokenizerOptions) -> PreTrainedTokenizerFast:
    end, *others = options.special_tokens
    template = options.chat_template
    if not template and set(options.special_tokens) >= _CHATML_TOKENS:
        template = CHATML
    return PreTrainedTokenizerFast(
        tokenizer_object=pipeline,
        eos_token=end,
        pad_token=end,
        extra_special_tokens=others,
        chat_template=template or None,
        clean_up_tokenization_spaces=False,
    )


def _check_template(options: TokenizerOptions) -> None:
    try:
        ImmutableSandboxedEnvironment().parse(options.chat_template)
    except TemplateSyntaxError as error:
        raise EngineError(
            Reason.BAD_SPEC,
            f"chat_template: it is no Jinja template ({error.message}, line {error.lineno}): mend it.",
        ) from error
