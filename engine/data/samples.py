"""What a row becomes: token ids with what each of them teaches; alone, or as a pair."""

from dataclasses import dataclass

IGNORED = -100


@dataclass(frozen=True)
class Rendered:
    """One sample: token ids, and for each the id it teaches or -100."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    row: int
    """Index of its row in its source, from 0."""
    weights: tuple[float, ...] | None = None
    """For each label how much it counts in the loss; None where all count 1."""
    source: int = 0
    """Index of its source."""

    @property
    def num_supervised(self) -> int:
        """Tokens that are learnt; a sample's first has nothing before it to be learnt from."""
        learnt = self.labels[1:]
        return len(learnt) - learnt.count(IGNORED)

    @property
    def supervised_weight(self) -> float:
        """The weights of these, summed."""
        if self.weights is None:
            return float(self.num_supervised)
        pairs = zip(self.labels[1:], self.weights[1:], strict=True)
        return sum(weight for label, weight in pairs if label != IGNORED)


@dataclass(frozen=True)
class RenderedPair:
    """A prompt with a better and a worse answer; each side holds the prompt too."""

    chosen: Rendered
    rejected: Rendered

    @property
    def row(self) -> int:
        """Index of its row in its source, from 0."""
        return self.chosen.row

    @property
    def source(self) -> int:
        """Index of its source."""
        return self.chosen.source

    @property
    def sides(self) -> tuple[Rendered, Rendered]:
        """Chosen, rejected."""
        return self.chosen, self.rejected

    @property
    def num_supervised(self) -> int:
        """Tokens of both answers, and 0 where one of them lies beyond the cut: no pair is left."""
        counts = [side.num_supervised for side in self.sides]
        return sum(counts) if all(counts) else 0

    @property
    def num_prompt(self) -> int:
        """Tokens that both sides begin with and neither learns: they are held once."""
        first, second = self.chosen, self.rejected
        most = min(len(first.ids), len(second.ids)) - 1
        for index in range(most):
            if first.ids[index] != second.ids[index]:
                return index
            if first.labels[index] != IGNORED or second.labels[index] != IGNORED:
                return index
        return max(0, most)


Sample = Rendered | RenderedPair


def get_sides(sample: Sample) -> tuple[Rendered, ...]:
    """Return a pair's two sides, or the sample itself."""
    return sample.sides if isinstance(sample, RenderedPair) else (sample,)
