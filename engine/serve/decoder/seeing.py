"""Models that see as well as read: which of their config and tensors are the text part's.

That part alone is served and quantized, as the family of text that it is. No picture is ever read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SEEING_FAMILIES = ("gemma3",)
"""`model_type` of the whole; Gemma 3's smallest sizes have no eyes, and are `gemma3_text`."""
_SAID_OF_THE_WHOLE = (
    "tie_word_embeddings",
    "quantization_config",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)


@dataclass(frozen=True)
class TextLayout:
    """What the text part's tensors are called in the files of the whole."""

    model: str
    """Stands where a model of text alone says `model.`."""
    head: str
    """Stands for `lm_head`."""
    others: tuple[str, ...]
    """How the names of all other tensors begin."""

    def name_as_text(self, name: str) -> str | None:
        """Return what a model of text alone calls a tensor; None for one of another part."""
        if name.startswith(self.others):
            return None
        if name.startswith(self.model):
            return "model." + name.removeprefix(self.model)
        if name.startswith(f"{self.head}."):
            return "lm_head" + name.removeprefix(self.head)
        return name


# As Gemma 3 is published and transformers writes it; and as transformers 5 calls its own modules.
_LAYOUTS = (
    TextLayout(
        "language_model.model.",
        "language_model.lm_head",
        ("vision_tower.", "multi_modal_projector."),
    ),
    TextLayout(
        "model.language_model.",
        "lm_head",
        ("model.vision_tower.", "model.multi_modal_projector."),
    ),
)


def take_text_config(config: Any) -> Any:
    """Return the text part's config, with what the whole says of it."""
    text = config.get_text_config()
    for name in _SAID_OF_THE_WHOLE:
        if getattr(config, name, None) is not None:
            setattr(text, name, getattr(config, name))
    return text


def find_text_layout(has: Callable[[str], bool]) -> TextLayout | None:
    """Return how the files of a whole model name its text part; None for files of text alone."""
    for layout in _LAYOUTS:
        if has(f"{layout.model}embed_tokens.weight"):
            return layout
    return None
