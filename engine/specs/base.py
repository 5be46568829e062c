"""What every spec shares: frozen, no unknown fields, and docstrings that are the form's help.

Keys in `json_schema_extra` that the launch form reads: `unit` (shown behind the field), `advanced`
(folded away), `part` (`what`, `how` or `where`), `widget` (`model`, `dataset`, `repo_name` ...),
`only` (a field and the values of it under which this one means something).
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

_REF = re.compile(r"^[A-Za-z0-9][\w.\-]{0,95}/[A-Za-z0-9][\w.\-]{0,95}(@[\w.\-/]{1,100})?$")

NamedRepo = tuple[Literal["model", "dataset"], str]
"""A kind of repo and a ref of the hub."""


class Spec(BaseModel):
    """A typed wish: what to do, never where."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def check_ref(value: str) -> str:
    """Accept `namespace/name`, `namespace/name@revision`, or a path that starts with `.` or `/`.

    Raises:
        ValueError: when it is neither; the message says the form wanted.
    """
    if value.startswith((".", "/")) or _REF.match(value):
        return value
    raise ValueError(
        "write namespace/name, namespace/name@revision, or a path that starts with ./ or /"
    )


RepoRef = Annotated[str, AfterValidator(check_ref)]
RepoRefOrNone = Annotated[str, AfterValidator(lambda value: value and check_ref(value))]
"""A ref, or nothing: a spec that was written out says the empty one too."""


def split_ref(ref: str) -> tuple[str, str]:
    """Split `namespace/name@revision` into repo id and revision, `main` where none is named."""
    repo_id, _, revision = ref.partition("@")
    return repo_id, revision or "main"
