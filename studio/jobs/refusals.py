"""One reason against a launch, or a warning about it, and how to mend it in one click."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from studio.core.errors import StudioError
from studio.jobs.mends import Mend


@dataclass(frozen=True)
class Refusal:
    """What the launch page shows, and what `submit_job` raises in the same words."""

    code: str
    message: str
    field: str | None = None
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    mend: Mend | None = None
    status: int = 400

    @classmethod
    def of(cls, error: StudioError) -> "Refusal":
        """Return what an error says."""
        return cls(error.code, error.message, error.field, error.params, status=error.status)

    def to_error(self) -> StudioError:
        """Return the error that `submit_job` raises for it."""
        error = StudioError(self.message, field=self.field, code=self.code, **self.params)
        error.status = self.status
        return error
