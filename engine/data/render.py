"""Renders a conversation with the model's own chat template and marks what is learnt.

Learnt are the assistant's turns and the token that ends them; nothing else. The template is asked
for the conversation turn by turn, so that any template works, with or without `{% generation %}`.
"""

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from engine.data.conversations import Conversation
from engine.errors import EngineError
from engine.status import Reason

IGNORED = -100


@dataclass(frozen=True)
class Rendered:
    """One sample: token ids, and for each the id it teaches or -100."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    row: int
    """Index of its row in the dataset, from 0."""

    @property
    def num_supervised(self) -> int:
        """Tokens that are learnt; a sample's first has nothing before it to be learnt from."""
        return sum(label != IGNORED for label in self.labels[1:])


class Renderer:
    """Turns conversations into samples under one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> None:
        """`max_length`: tokens of a sample beyond which it is cut."""
        self._tokenizer = tokenizer
        self._max_length = max_length
        self.end_ids = _find_end_ids(tokenizer)
        self.num_cut = 0

    def render(self, messages: Conversation, *, row: int) -> Rendered:
        """Render one conversation.

        Raises:
            EngineError: bad_data, when the template changes earlier turns as later ones come, so
                that no turn can be told from the next.
        """
        ids: list[int] = []
        labels: list[int] = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt = self._to_ids(messages[:index], ask=True)
            whole = self._to_ids(messages[: index + 1], ask=False)
            if prompt[: len(ids)] != ids or whole[: len(prompt)] != prompt:
                raise EngineError(
                    Reason.BAD_DATA,
                    f"dataset: row {row + 1} cannot be masked turn by turn under this model's chat "
                    "template: split it into one conversation for each answer.",
                )
            end = self._find_end(whole, len(prompt))
            labels += [IGNORED] * (len(prompt) - len(ids))
            labels += whole[len(prompt) : end] + [IGNORED] * (len(whole) - end)
            ids = whole
        cut = self._max_length
        self.num_cut += len(ids) > cut
        return Rendered(ids=tuple(ids[:cut]), labels=tuple(labels[:cut]), row=row)

    def render_prompt(self, messages: Conversation) -> list[int]:
        """Render what a model is given to answer."""
        return self._to_ids(messages, ask=True)

    def decode(self, ids: list[int]) -> str:
        """Return the text of tokens, special ones left out."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _to_ids(self, messages: Conversation, *, ask: bool) -> list[int]:
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=ask
        )
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _find_end(self, whole: list[int], start: int) -> int:
        """Return the index after the turn's end token; without one, that of the turn's end."""
        for index in range(len(whole) - 1, start - 1, -1):
            if whole[index] in self.end_ids:
                return index + 1
        return len(whole)


def _find_end_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the special tokens that may end a turn."""
    usual = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "</s>")
    found = [tokenizer.convert_tokens_to_ids(token) for token in usual]
    known = {index for index in found if index is not None and index != tokenizer.unk_token_id}
    return frozenset(known | {tokenizer.eos_token_id} - {None})
