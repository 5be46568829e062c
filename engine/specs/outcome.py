"""How a script ended, as the node that ran its container tells the engine. In outcome.json."""

from pydantic import BaseModel, ConfigDict

from engine.status import Reason


class Outcome(BaseModel):
    """The end of a script."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    exit_code: int | None = None
    """None where the script was ended, or never began."""
    reason: Reason = Reason.NONE
    """NONE where it ended well."""
    message: str = ""
    """One sentence for its owner."""
