"""The data contract: what became of every row, told before the first step.

A contract module: pydantic and the standard library only. A run writes it as `data/contract.json`.
"""

from pydantic import BaseModel, ConfigDict

from engine.specs.problems import RowProblem


class FileContract(BaseModel):
    """What became of the rows of one file. Rows are kept or dropped, never neither."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    """Path below its source."""
    format: str
    num_rows: int = 0
    num_kept: int = 0
    num_bad: int = 0
    """Rows dropped for a problem that has a mend."""
    num_zero_loss: int = 0
    """Good rows dropped since nothing of them is learnt: their answers lie beyond the cut, or all
    their weights are 0."""
    num_cut: int = 0
    """Kept or dropped, these were longer than the window and lost their end."""
    num_ends_added: int = 0
    """Turns that the template leaves open, taught to end with the tokenizer's end token."""
    num_without_end: int = 0
    """Turns that teach no end, since the tokenizer has none: such a model never stops."""
    num_samples: int = 0
    num_tokens: int = 0
    num_supervised_tokens: int = 0
    longest_tokens: int = 0
    dropped: dict[str, int] = {}
    """Bad rows by the code of their first problem."""
    problems: list[RowProblem] = []
    """The first of them."""

    @property
    def num_dropped(self) -> int:
        """Rows that are not trained on."""
        return self.num_bad + self.num_zero_loss


class SourceContract(BaseModel):
    """What became of one source."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    weight: float = 1.0
    """Passes over it in one epoch."""
    files: list[FileContract]

    def total(self, count: str) -> int:
        """Sum one count over the files."""
        return sum(int(getattr(file, count)) for file in self.files)


class DataContract(BaseModel):
    """What became of all sources."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    sources: list[SourceContract]
    max_length: int
    """Tokens of a sample beyond which it is cut."""
    max_bad_fraction: float
    """Share of a source's rows that may be bad."""

    def total(self, count: str) -> int:
        """Sum one count over all files."""
        return sum(source.total(count) for source in self.sources)
