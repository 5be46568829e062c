"""Drafts by a model: the second answer of a pair, a better last answer, or tagged spans.

Asked through the studio's own gateway as the project's owner, a few rows at a time, so that
stopping, a restart and a server that is away cost one handful of rows at most. What the model's
server works is charged to the owner by the price of the flavor it runs on, up to a limit that is
held from the start. A draft is never an answer.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.db import IntegrityError, transaction
from django.db.models import Q, Sum
from django.utils import timezone

from studio.accounts.models import User
from studio.core import audit
from studio.core.errors import BadInput, Conflict, NotFound, StudioError, Unavailable
from studio.labelling.models import (
    ACTIVE,
    Draft,
    Drafting,
    DraftingState,
    Project,
    TaskKind,
)
from studio.labelling.services import check_owner
from studio.labelling.sources import SourceRow, find_last_answer, list_source_rows
from studio.labelling.work import lock_project
from studio.points.services import charge_run, hold_points, release_run
from studio.serving.gateway import UpstreamRefusal, open_answer
from studio.serving.models import DeploymentStatus
from studio.serving.selectors import find_model
from studio.serving.services import ensure_deployment
from studio.serving.serving_settings import get_start_rate, get_usual_rate

MOST_ROWS = 100_000
AT_ONCE = 4
"""Rows a model is asked at the same time; its server batches them."""
_ANSWER_S = 90.0
_SLICE_S = 20.0
_CLAIM = timedelta(seconds=_ANSWER_S + 60)
_MOST_TRIES = 6
_MOST_CLAIMED = 2  # the control worker has four threads, and beats with them
_GUESSED_S = 4.0  # per row, before anything was measured: SmolLM2 on two cores
_JSON_LIST = re.compile(r"\[.*\]", re.DOTALL)


@dataclass(frozen=True)
class NewDrafting:
    """Which model shall draft how many rows, and for how much."""

    model: str
    num_rows: int = 100
    system: str = ""
    temperature: float = 0.7
    max_tokens: int = 512
    limit_mpoints: int = 0


@dataclass(frozen=True)
class Cost:
    """What a round would take, as far as can be told."""

    num_rows: int
    seconds: float
    mpoints: int
    rate_mpoints_per_hour: int
    is_measured: bool
    """Whether the time per row comes from earlier rounds of this project."""


def estimate_drafting(*, by: User, project: Project, num_rows: int, model: str = "") -> Cost:
    """Return what drafting so many further rows would take; without a model, by a usual one.

    Raises:
        NotFound, Forbidden: the project is not the caller's.
        BadInput: there is no such model for them.
    """
    check_owner(by, project)
    num_rows = max(0, min(num_rows, project.num_rows - project.next_draft_row))
    past = project.draftings.aggregate(ms=Sum("spent_ms"), rows=Sum("num_made"))
    per_row_s = past["ms"] / 1000 / past["rows"] if past["rows"] else _GUESSED_S / AT_ONCE
    rate = _find_rate(by, model) if model else get_usual_rate()
    seconds = per_row_s * num_rows
    mpoints = _price(int(seconds * 1000), rate)
    return Cost(num_rows, seconds, mpoints, rate, is_measured=bool(past["rows"]))


def start_drafting(*, by: User, project: Project, wanted: NewDrafting) -> Drafting:
    """Begin a round of drafts from the first row that has none.

    Raises:
        NotFound, Forbidden: the project is not the caller's.
        BadInput: there is no such model for them, or the limit is none.
        Conflict: `drafting_active`, `nothing_to_draft`.
        PointsExhausted: they have fewer points than the limit.
    """
    check_owner(by, project)
    rate = _find_rate(by, wanted.model)
    if rate and not wanted.limit_mpoints:
        message = "limit_mpoints: say how many milli-points it may cost at most."
        raise BadInput(message, field="limit_mpoints", code="limit_missing")
    try:
        return _begin(by, project, wanted, rate)
    except IntegrityError as error:
        message = "A model is drafting for this project already: stop it, or let it finish."
        raise Conflict(message, code="drafting_active") from error


@transaction.atomic
def stop_drafting(*, by: User, project: Project) -> Drafting | None:
    """Stop the round that is under way; what was drafted stays. None where there is none.

    Raises:
        NotFound, Forbidden: the project is not the caller's.
    """
    check_owner(by, project)
    drafting = Drafting.objects.select_for_update().filter(project=project, state__in=ACTIVE)
    found = drafting.first()
    if found is None:
        return None
    if found.claimed_until is None or found.claimed_until < timezone.now():
        _end(found, DraftingState.STOPPED)
    else:  # its worker sees the wish after the rows it has in hand
        found.state = DraftingState.STOPPING
        found.save(update_fields=["state"])
    audit.record("labelling.drafting_stopped", actor=by, subject=str(project.pk))
    return found


def list_due() -> list[UUID]:
    """Return the rounds that no worker has in hand; few at a time."""
    now = timezone.now()
    active = Drafting.objects.filter(state__in=ACTIVE)
    num_claimed = active.filter(claimed_until__gt=now).count()
    free = active.filter(Q(claimed_until=None) | Q(claimed_until__lte=now)).order_by("created_at")
    return list(free.values_list("pk", flat=True)[: max(0, _MOST_CLAIMED - num_claimed)])


def advance_drafting(drafting_id: UUID) -> None:
    """Draft rows for some seconds; a round that somebody else has in hand is left alone."""
    now = timezone.now()
    free = Drafting.objects.filter(Q(claimed_until=None) | Q(claimed_until__lte=now))
    if not free.filter(pk=drafting_id, state__in=ACTIVE).update(claimed_until=now + _CLAIM):
        return
    try:
        until = time.monotonic() + _SLICE_S
        while _advance_once(drafting_id) and time.monotonic() < until:
            pass
    finally:
        Drafting.objects.filter(pk=drafting_id).update(claimed_until=None)


def pause_crashed(drafting_id: UUID) -> None:
    """Stand still after a fault of the platform, until the owner begins another round."""
    message = "The studio failed at this round: what was drafted is kept; begin another to go on."
    _settle(drafting_id, DraftingState.PAUSED, StudioError(message, code="internal_error"))


def _advance_once(drafting_id: UUID) -> bool:
    """Draft a handful of rows; return whether to go on at once."""
    drafting = Drafting.objects.select_related("project__owner", "project__commit__repo").get(
        pk=drafting_id
    )
    try:
        if not _is_due(drafting) or not _is_ready(drafting):
            return False
        limit = min(AT_ONCE, drafting.end_row - drafting.next_row)
        rows = list_source_rows(drafting.project, drafting.next_row, limit)
        begun = time.monotonic()
        drafts = async_to_sync(_ask_all)(drafting, rows)
        spent_ms = int((time.monotonic() - begun) * 1000)
    except Unavailable as error:
        _wait(drafting_id, error)
        return False
    except StudioError as error:
        _settle(drafting_id, DraftingState.PAUSED, error)
        return False
    return _keep(drafting_id, rows, drafts, spent_ms)


def _is_due(drafting: Drafting) -> bool:
    if drafting.state == DraftingState.STOPPING:
        _settle(drafting.pk, DraftingState.STOPPED)
        return False
    if drafting.next_row >= drafting.end_row:
        _settle(drafting.pk, DraftingState.FINISHED)
        return False
    if drafting.rate_mpoints_per_hour and drafting.spent_mpoints >= drafting.limit_mpoints:
        limit = drafting.limit_mpoints / 1000
        message = f"It has cost the {limit:g} points of its limit: begin another round to go on."
        _settle(drafting.pk, DraftingState.PAUSED, StudioError(message, code="limit_reached"))
        return False
    return True


def _is_ready(drafting: Drafting) -> bool:
    """Say whether the model's server is up, and have it started where it is not."""
    wanted = find_model(drafting.project.owner, drafting.model)
    deployment = ensure_deployment(commit=wanted.base, asked_by=drafting.project.owner)
    is_ready = deployment.status == DeploymentStatus.READY
    state = DraftingState.RUNNING if is_ready else DraftingState.WAITING
    mine = Drafting.objects.filter(pk=drafting.pk, state__in=[DraftingState.WAITING, "running"])
    mine.exclude(state=state).update(state=state)
    return is_ready


async def _ask_all(drafting: Drafting, rows: list[SourceRow]) -> list[Draft]:
    return list(await asyncio.gather(*(_ask(drafting, row) for row in rows)))


async def _ask(drafting: Drafting, row: SourceRow) -> Draft:
    draft = Draft(project=drafting.project, row=row.index, model=drafting.model)
    turns = make_prompt(drafting.project, row, drafting.system)
    if turns is None:
        draft.error = "The row holds nothing to answer."
        return draft
    body = {
        "model": drafting.model,
        "messages": turns,
        "temperature": drafting.temperature,
        "max_tokens": drafting.max_tokens,
    }
    try:
        async with asyncio.timeout(_ANSWER_S):
            text = await _get_text(drafting.project.owner, body)
    except TimeoutError as error:
        message = f"{drafting.model} did not answer within {_ANSWER_S:.0f} s."
        raise Unavailable(message, code="model_slow") from error
    except UpstreamRefusal as error:
        if error.status >= 500 or error.status == 429:
            raise Unavailable(error.message, code=error.code) from error
        draft.error = error.message
        return draft
    if drafting.project.kind == TaskKind.SPANS:
        draft.spans = find_spans(text, row.text or "", drafting.project.labels)
    draft.text = text.replace("\0", "")
    return draft


async def _get_text(owner: User, body: dict[str, Any]) -> str:
    answer = await open_answer(owner, body)
    try:
        whole = await answer.whole()
    finally:
        await answer.close()
    choices = whole.get("choices") or [{}]
    return str((choices[0].get("message") or {}).get("content") or "")


def make_prompt(project: Project, row: SourceRow, system: str) -> list[dict[str, str]] | None:
    """Return what to send to the model for a row; None where there is nothing to ask."""
    if project.kind == TaskKind.SPANS:
        if not row.text:
            return None
        told = (
            "Find every span of the user's text that fits one of these labels: "
            f"{', '.join(project.labels)}. Answer only with a JSON list such as "
            '[{"label": "...", "text": "..."}], each text copied exactly.'
        )
        head = f"{system}\n\n{told}" if system else told
        return [{"role": "system", "content": head}, {"role": "user", "content": row.text}]
    turns = row.pair.prompt if row.pair else None
    if row.messages is not None:
        last = find_last_answer(row.messages)
        turns = row.messages if last is None else row.messages[:last]
    if not turns or turns[-1]["role"] != "user":
        return None
    if system and turns[0]["role"] != "system":
        return [{"role": "system", "content": system}, *turns]
    return turns


def find_spans(reply: str, text: str, labels: list[str]) -> list[dict[str, Any]]:
    """Return the spans that a model named, wherever their words stand; the rest is passed over."""
    match = _JSON_LIST.search(reply)
    try:
        named = json.loads(match.group()) if match else []
    except (ValueError, RecursionError):
        return []
    return _locate(named, text, labels)[:200]


def _locate(named: Iterable[Any], text: str, labels: list[str]) -> list[dict[str, Any]]:
    found: set[tuple[int, int, str]] = set()
    for each in named:
        label, words = (each.get("label"), each.get("text")) if isinstance(each, dict) else ("", "")
        if label not in labels or not isinstance(words, str) or not words:
            continue
        start = text.find(words)
        while start >= 0 and len(found) < 1000:
            found.add((start, start + len(words), label))
            start = text.find(words, start + len(words))
    return [{"start": a, "end": b, "label": label} for a, b, label in sorted(found)]


@transaction.atomic
def _begin(by: User, project: Project, wanted: NewDrafting, rate: int) -> Drafting:
    project = lock_project(project.pk)
    first = project.next_draft_row
    end = min(project.num_rows, first + min(wanted.num_rows, MOST_ROWS))
    if end <= first:
        message = "Every row has a draft already, or was tried."
        raise Conflict(message, code="nothing_to_draft")
    drafting = Drafting(
        project=project,
        model=wanted.model,
        system=wanted.system,
        temperature=wanted.temperature,
        max_tokens=wanted.max_tokens,
        first_row=first,
        next_row=first,
        end_row=end,
        rate_mpoints_per_hour=rate,
        limit_mpoints=wanted.limit_mpoints if rate else 0,
    )
    drafting.full_clean(validate_constraints=False)
    drafting.save(force_insert=True)
    note = f"Drafts for {project.name}"[:200]
    hold_points(user=by, mpoints=drafting.limit_mpoints, run_id=drafting.pk, note=note)
    audit.record(
        "labelling.drafting_started", actor=by, subject=str(project.pk), model=wanted.model
    )
    return drafting


@transaction.atomic
def _keep(drafting_id: UUID, rows: list[SourceRow], drafts: list[Draft], spent_ms: int) -> bool:
    """Keep a handful of drafts, and charge what they took."""
    drafting = Drafting.objects.select_for_update().select_related("project__owner")
    mine = drafting.get(pk=drafting_id)
    project = lock_project(mine.project_id)
    Draft.objects.bulk_create(drafts, ignore_conflicts=True)
    # A row so large that its neighbours did not come with it is followed by them next time.
    mine.next_row = max(mine.next_row, rows[-1].index + 1 if rows else mine.end_row)
    mine.num_made += sum(not draft.error for draft in drafts)
    mine.num_failed += sum(bool(draft.error) for draft in drafts)
    mine.spent_ms += spent_ms
    mine.num_tries, mine.code, mine.message = 0, "", ""
    cost = _price(mine.spent_ms, mine.rate_mpoints_per_hour)
    mine.spent_mpoints = min(cost, mine.limit_mpoints)
    charge_run(user=mine.project.owner, run_id=mine.pk, total_mpoints=mine.spent_mpoints)
    mine.claimed_until = timezone.now() + _CLAIM
    mine.save()
    if project.next_draft_row < mine.next_row:
        project.next_draft_row = mine.next_row
        project.save(update_fields=["next_draft_row"])
    return True


@transaction.atomic
def _wait(drafting_id: UUID, error: StudioError) -> None:
    """Try again in some seconds; after some tries, stand still until its owner goes on."""
    drafting = Drafting.objects.select_for_update().get(pk=drafting_id)
    if drafting.state == DraftingState.STOPPING:
        _end(drafting, DraftingState.STOPPED)
        return
    drafting.num_tries += 1
    if drafting.num_tries >= _MOST_TRIES:
        _end(drafting, DraftingState.PAUSED, error)
        return
    drafting.state = DraftingState.WAITING
    drafting.code, drafting.message = error.code, error.message
    drafting.save(update_fields=["num_tries", "state", "code", "message"])


@transaction.atomic
def _settle(drafting_id: UUID, state: DraftingState, error: StudioError | None = None) -> None:
    _end(Drafting.objects.select_for_update().get(pk=drafting_id), state, error)


def _end(drafting: Drafting, state: DraftingState, error: StudioError | None = None) -> None:
    """End a round and give back what is left of its hold."""
    drafting.state, drafting.ended_at = state, timezone.now()
    drafting.code = error.code if error else ""
    drafting.message = error.message if error else ""
    drafting.save(update_fields=["state", "ended_at", "code", "message"])
    release_run(user=drafting.project.owner, run_id=drafting.pk)


def _find_rate(user: User, model: str) -> int:
    """Return the price of the flavor that a model is served on, in milli-points an hour."""
    try:
        return get_start_rate(find_model(user, model).base.repo)
    except NotFound as error:
        raise BadInput(f"model: {error.message}", field="model", code="model_not_found") from error


def _price(spent_ms: int, rate_mpoints_per_hour: int) -> int:
    return -(-spent_ms * rate_mpoints_per_hour // 3_600_000)
