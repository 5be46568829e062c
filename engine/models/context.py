"""Gives a model's config another window: a base of its rotary positions, and a length.

By the base alone, as the InternLM2 report (arXiv 2403.17297, section 3.2) and arXiv 2309.16039 do
it: weights stay, and training goes on. A scaling that the config has stays as well.
"""

from typing import Any

from engine.errors import EngineError
from engine.models.chatglm import ChatGLMConfig
from engine.specs.context import ContextOptions
from engine.status import Reason


def change_window(config: Any, options: ContextOptions) -> None:
    """Rewrite a config in place, before a model is made of it.

    Raises:
        EngineError: bad_spec, for a model without rotary positions, or with several bases.
    """
    if options.changes_nothing:
        return
    parameters = getattr(config, "rope_parameters", None)
    is_rotary = getattr(config, "position_embedding", "rope") == "rope"
    if isinstance(config, ChatGLMConfig):
        if options.rope_theta is not None:
            config.rope_ratio = options.rope_theta / 10_000
    elif not is_rotary or not parameters:
        raise _refuse("has no rotary positions")
    elif "rope_theta" not in parameters:
        raise _refuse("has a base for each kind of its layers")
    elif options.rope_theta is not None:
        config.rope_parameters = {**parameters, "rope_theta": options.rope_theta}
    if options.max_position is not None:
        config.max_position_embeddings = options.max_position
        if hasattr(config, "model_max_length"):  # Baichuan says it twice
            config.model_max_length = options.max_position


def _refuse(what: str) -> EngineError:
    return EngineError(
        Reason.BAD_SPEC, f"context: the model {what}, so its window stays: leave context out."
    )
