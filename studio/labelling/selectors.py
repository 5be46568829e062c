"""What may be seen of labelling: projects one owns or labels in, and the figures of one's own."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet

from studio.accounts.models import User
from studio.core.errors import NotFound
from studio.labelling import agreement
from studio.labelling.models import Answer, AnswerState, Draft, Drafting, Item, Project, TaskKind


@dataclass
class PersonFigures:
    """How one annotator does."""

    username: str
    is_active: bool
    num_done: int = 0
    num_skipped: int = 0
    median_seconds: float | None = None
    agreement: float | None = None
    """Share of equal answers among pairs with others, or F1 over characters for spans."""


@dataclass(frozen=True)
class PairFigures:
    """How two annotators agree."""

    left: str
    right: str
    num_rows: int
    agreement: float | None
    kappa: float | None


@dataclass
class Figures:
    """A project's figures; None where there is nothing to compare yet."""

    num_shared_rows: int = 0
    num_disputed: int = 0
    num_decided: int = 0
    percent_agreement: float | None = None
    alpha: float | None = None
    kappa: float | None = None
    """Cohen's, where exactly two people share rows."""
    span_f1: float | None = None
    overlap_f1: float | None = None
    verdicts: dict[str, int] = field(default_factory=dict)
    people: list[PersonFigures] = field(default_factory=list)
    pairs: list[PairFigures] = field(default_factory=list)


def list_projects(viewer: User, *, dataset: str = "") -> QuerySet[Project]:
    """Return the projects that somebody owns or labels in, last worked on first."""
    seen = Q(owner=viewer) | Q(pk__in=_where_member(viewer))
    projects = Project.objects.filter(seen).select_related("owner")
    if dataset:
        projects = projects.filter(dataset__iexact=dataset)
    return projects.order_by("-updated_at", "pk")


def get_project(viewer: User, project_id: UUID) -> Project:
    """Return a project that the viewer owns or labels in.

    Raises:
        NotFound: there is none.
    """
    found = list_projects(viewer).select_related("owner", "commit__repo").filter(pk=project_id)
    project = found.first()
    if project is None:
        raise NotFound
    return project


def get_my_answer(viewer: User, project: Project, row: int) -> Answer:
    """Return one's own place at a row.

    Raises:
        NotFound: they never had it.
    """
    if row >= project.num_rows:  # however large: no column holds just any number
        raise NotFound
    mine = Answer.objects.filter(project=project, annotator=viewer, row=row)
    answer = mine.select_related("item").first()
    if answer is None:
        raise NotFound
    return answer


def find_neighbours(viewer: User, project: Project, row: int) -> tuple[int | None, int | None]:
    """Return the rows before and after this one that the person answered."""
    mine = Answer.objects.filter(project=project, annotator=viewer, state=AnswerState.DONE)
    before = mine.filter(row__lt=row).order_by("-row").values_list("row", flat=True).first()
    after = mine.filter(row__gt=row).order_by("row").values_list("row", flat=True).first()
    return before, after


def count_mine(viewer: User, project: Project) -> int:
    """Return how many rows somebody has answered."""
    mine = project.members.filter(user=viewer).values_list("num_done", flat=True)
    return mine.first() or 0


def find_draft(project: Project, row: int) -> Draft | None:
    """Return what a model proposed for a row."""
    return Draft.objects.filter(project=project, row=row, error="").first()


def list_disputes(project: Project, *, which: str = "open") -> QuerySet[Item]:
    """Return rows whose answers differ, with the answers; `open` ones have no decision yet."""
    done = Answer.objects.filter(state=AnswerState.DONE).select_related("annotator")
    items = project.items.filter(is_disputed=True)
    if which == "open":
        items = items.filter(decided_at__isnull=True)
    elif which == "decided":
        items = items.filter(decided_at__isnull=False)
    return items.prefetch_related(Prefetch("answers", done.order_by("pk"))).order_by("row")


def find_drafting(project: Project) -> Drafting | None:
    """Return the last round of drafting."""
    return project.draftings.order_by("-created_at").first()


def get_figures(project: Project) -> Figures:
    """Return how far a project's annotators are and agree; three queries, all its answers read."""
    people = _list_people(project)
    units: dict[int, dict[int, Any]] = {}
    seconds: dict[int, list[int]] = {}
    skipped: dict[int, int] = {}
    figures = Figures()
    is_spans = project.kind == TaskKind.SPANS
    columns = ["row", "annotator_id", "state", "seconds", "content" if is_spans else "verdict"]
    answers = Answer.objects.filter(
        project=project, state__in=[AnswerState.DONE, AnswerState.SKIPPED]
    )
    for row, who, state, took, said in answers.values_list(*columns).iterator(chunk_size=5000):
        if state == AnswerState.SKIPPED:
            skipped[who] = skipped.get(who, 0) + 1
            continue
        value = _read_spans(said) if is_spans else said
        units.setdefault(row, {})[who] = value
        seconds.setdefault(who, []).append(took or 0)
        if not is_spans:
            figures.verdicts[said] = figures.verdicts.get(said, 0) + 1
    shared = [unit for unit in units.values() if len(unit) > 1]
    figures.num_shared_rows = len(shared)
    _count_disputes(project, figures)
    _compare(figures, shared, people, is_spans=is_spans)
    for who, person in people.items():
        took_s = seconds.get(who, [])
        person.num_done, person.num_skipped = len(took_s), skipped.get(who, 0)
        person.median_seconds = float(median(took_s)) if took_s else None
    figures.people = list(people.values())
    return figures


def _where_member(viewer: User) -> QuerySet[Any, Any]:
    return viewer.labelling_memberships.filter(is_active=True).values("project_id")


def _list_people(project: Project) -> dict[int, PersonFigures]:
    members = project.members.select_related("user").order_by("number")
    return {
        member.user_id: PersonFigures(member.user.username, member.is_active) for member in members
    }


def _read_spans(content: Any) -> tuple[agreement.Span, ...]:
    spans = content.get("spans", []) if isinstance(content, dict) else []
    return tuple((span["start"], span["end"], span["label"]) for span in spans)


def _count_disputes(project: Project, figures: Figures) -> None:
    decided = project.items.filter(is_disputed=True).values_list("decided_at", flat=True)
    moments = list(decided)
    figures.num_disputed = len(moments)
    figures.num_decided = sum(moment is not None for moment in moments)


def _compare(
    figures: Figures,
    shared: list[dict[int, Any]],
    people: Mapping[int, PersonFigures],
    *,
    is_spans: bool,
) -> None:
    pairs = agreement.pair_up(shared)
    if is_spans:
        everything: list[Any] = [pair for each in pairs.values() for pair in each]
        figures.span_f1 = agreement.span_f1(everything)
        figures.overlap_f1 = agreement.overlap_f1(everything)
    else:
        figures.alpha = agreement.krippendorff_alpha(shared)
    figures.percent_agreement = agreement.percent_agreement(shared)
    for (left, right), said in pairs.items():
        if left in people and right in people:
            figures.pairs.append(_describe_pair(people[left], people[right], said, is_spans))
    if len(figures.pairs) == 1 and not is_spans:
        figures.kappa = figures.pairs[0].kappa
    for who, person in people.items():
        with_others: list[Any] = [
            pair for names, each in pairs.items() if who in names for pair in each
        ]
        person.agreement = _share(with_others, is_spans)


def _describe_pair(
    left: PersonFigures,
    right: PersonFigures,
    said: list[tuple[Hashable, Hashable]],
    is_spans: bool,
) -> PairFigures:
    kappa = None if is_spans else agreement.cohen_kappa(said)
    return PairFigures(left.username, right.username, len(said), _share(said, is_spans), kappa)


def _share(pairs: list[Any], is_spans: bool) -> float | None:
    if is_spans:
        return agreement.overlap_f1(pairs)
    return sum(left == right for left, right in pairs) / len(pairs) if pairs else None
