"""ScriptSpec: a command of the user's own, run in a container of a registered image."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from engine.specs.base import NamedRepo, Spec, check_ref

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_PLACE = re.compile(rf"(/(inputs|share|data|mnt)(/{_PART}){{1,4}}|{_PART})")
_OWN = "ATHANOR_"
_MOST_WORD = 32_768
_MOST_VALUE = 8192


def _check_source(value: str) -> str:
    if value.startswith((".", "/")):
        raise ValueError("a node has no files of yours: name a repo of the hub")
    check_ref(value.removeprefix("datasets/").removeprefix("models/"))
    return value


def split_source(source: str) -> NamedRepo:
    """Return the kind and the ref of `namespace/name@revision`, with `datasets/` before a dataset.

    As in Hugging Face's own paths; `models/` may be written and need not be.
    """
    if source.startswith("datasets/"):
        return "dataset", source.removeprefix("datasets/")
    return "model", source.removeprefix("models/")


RepoSource = Annotated[str, AfterValidator(_check_source)]


class ScriptSpec(Spec):
    """Run a command of your own in a container."""

    kind: Literal["script"] = "script"
    command: tuple[str, ...] = Field(
        min_length=1,
        max_length=256,
        title="Command",
        json_schema_extra={"part": "what", "widget": "command"},
    )
    """Program and arguments, each a word of its own; no shell reads them but `sh -c "..."`."""
    code: RepoSource | None = Field(
        default=None, title="Code", json_schema_extra={"part": "what", "widget": "source"}
    )
    """A repo that lies read-only at `/code` and is where the command starts: `alice/my-code@main`,
    or `datasets/alice/my-code`. If empty, it starts in your drive."""
    working_dir: str = Field(
        default="",
        max_length=4096,
        title="Folder to start in",
        json_schema_extra={"part": "what", "advanced": True},
    )
    """From `/` on, or seen from where it would start otherwise."""
    home: Literal["drive", "empty"] = Field(
        default="drive", title="Home", json_schema_extra={"part": "what"}
    )
    """`drive` is your drive at `/root`, to read and to write, as on a dev machine; what is in an
    `empty` one is gone at the end."""
    inputs: dict[str, RepoSource] = Field(
        default={},
        max_length=32,
        title="Inputs",
        json_schema_extra={"part": "what", "widget": "pairs"},
    )
    """Repos by where they lie, to read only: `alpaca` is `/inputs/alpaca`. A model is
    `namespace/name@revision`, a dataset has `datasets/` before it."""
    output: str = Field(
        default="",
        max_length=96,
        pattern=r"^([A-Za-z0-9][\w.\-]*)?$",
        title="Name of the output",
        json_schema_extra={"part": "what", "widget": "repo_name"},
    )
    """The repo in your namespace that receives the files of `/output`. If empty, none does."""
    environment: dict[str, str] = Field(
        default={},
        max_length=64,
        title="Environment",
        json_schema_extra={"part": "how", "widget": "pairs"},
    )
    """Variables of the command. Nothing secret: whoever sees the job sees them."""
    image: str = Field(
        default="",
        max_length=40,
        pattern=r"^[a-z0-9-]*$",
        title="Image",
        json_schema_extra={"part": "how", "widget": "image"},
    )
    """What it runs in: one of the images of dev machines. If empty, the first that is offered."""
    time_limit_minutes: int = Field(
        default=60,
        ge=1,
        le=20_160,
        title="Time limit",
        json_schema_extra={"part": "how", "unit": "minutes"},
    )
    """After which it is stopped; what is in `/output` by then is kept. Points are held for all of
    it, and what is not used comes back."""

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        if not self.command[0].strip():
            raise ValueError("command has no program: write its name or its path first")
        if any(len(word) > _MOST_WORD or "\x00" in word for word in self.command):
            raise ValueError(f"command has a word of more than {_MOST_WORD} letters, or with a NUL")
        _check_environment(self.environment)
        _check_places(self.list_inputs())
        return self

    def list_inputs(self) -> dict[str, NamedRepo]:
        """Return what lies where in the container, the code too."""
        found = {"/code": split_source(self.code)} if self.code else {}
        for name, source in self.inputs.items():
            found[name if name.startswith("/") else f"/inputs/{name}"] = split_source(source)
        return found


def _check_environment(environment: dict[str, str]) -> None:
    for name, value in environment.items():
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"environment has the name {name[:40]!r}: write letters, digits and _, and begin "
                "with no digit"
            )
        if name.startswith(_OWN):
            raise ValueError(f"environment sets {name}: names with {_OWN} are the studio's")
        if len(value) > _MOST_VALUE or "\x00" in value:
            raise ValueError(
                f"environment has a value of more than {_MOST_VALUE} letters, or with a NUL, "
                f"for {name}"
            )


def _check_places(inputs: dict[str, NamedRepo]) -> None:
    for place in inputs:
        if place != "/code" and not _PLACE.fullmatch(place):
            raise ValueError(
                f"inputs has the place {place[:80]!r}: write a name, or a path below /inputs, "
                "/share, /data or /mnt"
            )
        for other in inputs:
            if other.startswith(f"{place}/"):
                raise ValueError(f"inputs has {other} within {place}: give each a place of its own")
