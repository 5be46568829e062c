"""What stands against the datasets of a training, and how large they are together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.specs import TrainSpec
from engine.specs.estimate import DataFacts
from engine.specs.formats import FormatName
from engine.specs.report import DatasetReport
from engine.specs.sources import Source
from engine.specs.stages import FormatVerdict, StageName, judge_format
from studio.core.errors import StudioError
from studio.hub.models import Commit
from studio.hub.reports import find_data_file
from studio.hub.selectors import Choice, get_dataset_report, to_data_facts
from studio.jobs.mends import Mend
from studio.jobs.refusals import Refusal

_REFUSED: dict[FormatVerdict, str] = {
    "needs_pairs": (
        "{field}: stage {stage} learns from pairs of answers, and {dataset} has rows of format "
        "{format}; pick a dataset with prompt, chosen and rejected."
    ),
    "is_pairs": (
        "{field}: {dataset} holds preference pairs, and stage {stage} does not learn from them; "
        "pick another dataset, or stage dpo or reward."
    ),
}
_WARNED: dict[FormatVerdict, str] = {
    "learns_all": "{dataset} holds plain texts: every token of them is learnt, not answers alone.",
    "learns_answers": (
        "{dataset} holds conversations: only the answers are learnt, as in a finetune."
    ),
}


@dataclass
class DataAdvice:
    """What can be said of the data. `facts` are None where something cannot be read."""

    facts: DataFacts | None = None
    refusals: list[Refusal] = field(default_factory=list)
    warnings: list[Refusal] = field(default_factory=list)


def weigh_data(spec: TrainSpec, commits: Mapping[str, Commit]) -> DataAdvice:
    """Check every source of a training; `commits` are the datasets', by the fields naming them."""
    advice = DataAdvice()
    known: list[tuple[Source, DataFacts]] = []
    for index, source in enumerate(spec.sources):
        name = "dataset" if index == 0 else f"mixture.{index - 1}.repo"
        if name not in commits:  # its own refusal says why
            continue
        choice = Choice(source.split, source.files, source.format)
        try:
            report = get_dataset_report(commits[name], choice)
        except StudioError as error:
            advice.refusals.append(_move_to(f"spec.{name}", error))
            continue
        can_keep = index == 0 and report.is_whole and find_data_file(commits[name]) is not None
        one = _Judged(f"spec.{name}", source.repo, report, spec, can_keep)
        advice.refusals += [*one.refuse_format(), *one.refuse_rows()]
        advice.warnings += one.warn()
        known.append((source, to_data_facts(report)))
    if len(known) == len(spec.sources):
        advice.facts = _sum(known)
    return advice


@dataclass(frozen=True)
class _Judged:
    """One dataset of a training."""

    field: str
    dataset: str
    report: DatasetReport
    spec: TrainSpec
    can_keep: bool
    """It is one file of lines, of which a revision without the bad ones can be made."""

    def refuse_format(self) -> list[Refusal]:
        """Refuse rows that the stage cannot learn from."""
        stage: StageName = self.spec.stage
        for name in self.report.formats:
            sentence = _REFUSED.get(judge_format(stage, name))
            if sentence is not None:
                return [self._say(sentence, judge_format(stage, name), name)]
        return []

    def warn(self) -> list[Refusal]:
        """Tell what is learnt of rows that the stage is not meant for."""
        found = []
        for name in self.report.formats:
            verdict = judge_format(self.spec.stage, name)
            if sentence := _WARNED.get(verdict):
                found.append(self._say(sentence, verdict, name))
        return found

    def refuse_rows(self) -> list[Refusal]:
        """Refuse a dataset of which nothing is learnt, or with more bad rows than are allowed."""
        report, most = self.report, self.spec.max_bad_fraction
        if report.num_good == 0:
            what = f"{self.dataset} has no row to learn from"
            message = f"{self.field}: {what}; pick or upload another one."
            return [Refusal("dataset_empty", message, self.field, {"dataset": self.dataset})]
        if report.num_bad <= most * report.num_rows:
            return []
        params = {
            "dataset": self.dataset,
            "num_bad": report.num_bad,
            "num_rows": report.num_rows,
            "line": report.problems[0].line,
            "most": most,
        }
        allowed = f" and max_bad_fraction allows {most:.2%}" if most else ""
        message = (
            f"{self.field}: {report.num_bad} of {report.num_rows} rows of {self.dataset} are bad"
            f"{allowed}, the first in line {params['line']}; keep the good rows only, or mend the "
            "file and upload it again."
        )
        return [Refusal("dataset_bad_rows", message, self.field, params, self._find_mend())]

    def _find_mend(self) -> Mend:
        """One file of lines can be mended for good; of any other data the bad rows are left out."""
        report = self.report
        if self.can_keep:
            return Mend("keep_good_rows", {"dataset": self.dataset})
        share = math.ceil(1000 * report.num_bad / report.num_rows) / 1000
        return Mend("allow_bad_rows", {"value": share}, {"spec": {"max_bad_fraction": share}})

    def _say(self, sentence: str, code: str, name: FormatName) -> Refusal:
        params = {"dataset": self.dataset, "stage": self.spec.stage, "format": name}
        message = sentence.format(field=self.field, **params)
        return Refusal(f"dataset_{code}", message, self.field, params)


def _move_to(where: str, error: StudioError) -> Refusal:
    """Say of a mixture's dataset what was said of the first."""
    refusal = Refusal.of(error)
    message = error.message.replace("spec.dataset:", f"{where}:", 1)
    return Refusal(refusal.code, message, where, refusal.params, status=refusal.status)


def _sum(known: Sequence[tuple[Source, DataFacts]]) -> DataFacts:
    """Return what one epoch sees: each source as often as its weight says."""
    counts = ("num_samples", "num_tokens", "num_supervised_tokens")
    summed = {
        name: round(sum(source.weight * getattr(facts, name) for source, facts in known))
        for name in counts
    }
    return DataFacts(longest_tokens=max(facts.longest_tokens for _, facts in known), **summed)
