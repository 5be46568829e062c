"""The window of a model: how a training makes it longer."""

from pydantic import Field

from engine.specs.base import Spec


class ContextOptions(Spec):
    """Change a model's rotary positions before training, for longer samples (2309.16039)."""

    rope_theta: float | None = Field(default=None, gt=1, le=1e12, title="Rope base")
    """The base of rotary positions: a higher one turns slower and tells apart what is farther. If
    empty, it stays."""
    max_position: int | None = Field(default=None, ge=16, le=16_777_216, title="Window")
    """Most tokens of a sequence, as the model's config says it to servers. If empty, it stays."""

    @property
    def changes_nothing(self) -> bool:
        """Say whether the model stays as it is."""
        return self.rope_theta is None and self.max_position is None
