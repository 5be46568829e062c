"""Balance, statement and grants at the API."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts.models import User
from studio.accounts.selectors import find_user
from studio.accounts.viewers import viewer_of
from studio.core.errors import BadInput, NotFound
from studio.core.inputs import read_input
from studio.core.pagination import Pages
from studio.core.permissions import IsOperator
from studio.core.sentences import find_told
from studio.jobs.selectors import get_run_labels
from studio.points import serializers as shapes
from studio.points.models import Transfer
from studio.points.selectors import (
    RunSum,
    get_balance,
    list_last_transfers,
    list_transfers,
    sum_entries,
    sum_runs,
)
from studio.points.services import grant_points
from studio.points.uses import get_use

_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    required=True,
    description="Makes it safe to send the grant again: one key grants once.",
)
_MOST_KEY = 200
_FARTHEST = timedelta(days=3650)


class PointsApi(APIView):
    @extend_schema(operation_id="points_retrieve", responses=shapes.PointsOutput)
    def get(self, request: Request) -> Response:
        viewer = viewer_of(request)
        balance = get_balance(viewer)
        use = get_use(viewer.pk)
        total = balance.total - use.unwritten_mpoints
        shown = {
            "available_mpoints": balance.available_mpoints,
            "held_mpoints": balance.held_mpoints - use.unwritten_mpoints,
            "total_mpoints": total,
            "burn_mpoints_per_hour": use.rate_mpoints_per_hour,
            "unwritten_mpoints": use.unwritten_mpoints,
            "runs_out_at": _forecast_end(total, use.rate_mpoints_per_hour),
        }
        return Response(shapes.PointsOutput(shown).data)


class StatementApi(APIView):
    @extend_schema(
        operation_id="points_statement",
        parameters=[
            OpenApiParameter("user", str, description="Whose; another's for operators only."),
            OpenApiParameter(
                "by_run",
                bool,
                description="One line for all moves of a run or a machine's time, at its last.",
            ),
            OpenApiParameter("page", int),
            OpenApiParameter("page_size", int),
        ],
        responses=shapes.StatementOutput,
    )
    def get(self, request: Request) -> Response:
        viewer = viewer_of(request)
        user = find_user(viewer, request.query_params.get("user") or viewer.username)
        by_run = request.query_params.get("by_run", "").lower() in {"1", "true"}
        listed = list_last_transfers(user) if by_run else list_transfers(user)
        pages = Pages()
        page = pages.paginate_queryset(listed, request, view=self) or []
        response = pages.get_paginated_response(_show_lines(page, by_run=by_run))
        assert response.data is not None
        response.data["totals"] = _show_totals(user)
        return response


class GrantApi(APIView):
    permission_classes = [IsOperator]

    @extend_schema(
        operation_id="points_grant",
        parameters=[_KEY],
        request=shapes.GrantInput,
        responses={201: shapes.StatementLineOutput},
    )
    def post(self, request: Request) -> Response:
        wish = read_input(shapes.GrantInput, request.data)
        viewer = viewer_of(request)
        made = grant_points(
            by=viewer,
            to=_find_receiver(viewer, wish["username"]),
            mpoints=wish["mpoints"],
            note=wish["note"],
            key=_read_key(request),
        )
        line = list_transfers(made.user).get(pk=made.pk)
        return Response(_show_lines([line])[0], status=201)


def _forecast_end(total_mpoints: int, burn_mpoints_per_hour: int) -> datetime | None:
    if burn_mpoints_per_hour <= 0:
        return None
    hours = total_mpoints / burn_mpoints_per_hour
    return timezone.now() + min(_FARTHEST, timedelta(hours=min(hours, 10**5)))


def _find_receiver(viewer: User, username: str) -> User:
    try:
        user = find_user(viewer, username)
    except NotFound as error:
        message = f"username: there is no {username!r}."
        raise BadInput(message, field="username", code="no_such_user", username=username) from error
    if not user.is_active:
        raise BadInput(
            f"username: {username} is disabled: enable them first.",
            field="username",
            code="disabled",
        )
    return user


def _read_key(request: Request) -> str:
    key = request.headers.get("Idempotency-Key", "").strip()
    if not key or len(key) > _MOST_KEY:
        raise BadInput(
            f"Idempotency-Key: send this header with 1 to {_MOST_KEY} characters of your choice.",
            field="Idempotency-Key",
            code="bad_key",
        )
    return key


def _show_lines(transfers: Sequence[Any], *, by_run: bool = False) -> list[dict[str, Any]]:
    run_ids = {made.run_id for made in transfers if made.run_id}
    labels, sums = get_run_labels(run_ids), sum_runs(run_ids) if by_run else {}
    lines = [
        _describe(made, labels.get(made.run_id)) | _describe_sum(sums.get(made.run_id))
        for made in transfers
    ]
    return [dict(line) for line in shapes.StatementLineOutput(lines, many=True).data]


def _describe(made: Any, label: tuple[Any, str, int] | None) -> dict[str, Any]:
    """Return a line of a transfer from `list_transfers`, which carries the four amounts."""
    assert isinstance(made, Transfer)
    job_id, job_name, run_index = label or (None, None, None)
    return {
        "id": made.pk,
        "time": made.created_at,
        "begun_at": made.created_at,
        "num_moves": 1,
        "reason": made.reason,
        "note": made.note,
        "told": None if made.by else find_told(made.note),  # a person's words are theirs
        "job_id": job_id,
        "job_name": job_name,
        "run_index": run_index,
        "available_change_mpoints": made.available_change,  # type: ignore[attr-defined]
        "held_change_mpoints": made.held_change,  # type: ignore[attr-defined]
        "available_after_mpoints": made.available_after,  # type: ignore[attr-defined]
        "held_after_mpoints": made.held_after,  # type: ignore[attr-defined]
        "by": made.by.username if made.by else None,
    }


def _describe_sum(run: RunSum | None) -> dict[str, Any]:
    """Return what a line says that stands for all moves of a run; nothing where it does not."""
    if run is None:
        return {}
    return {
        "begun_at": run.begun_at,
        "num_moves": run.num_moves,
        "available_change_mpoints": run.available_change,
        "held_change_mpoints": run.held_change,
    }


def _show_totals(user: User) -> dict[str, Any]:
    balance, added = get_balance(user), sum_entries(user)
    totals = {
        "available_mpoints": balance.available_mpoints,
        "held_mpoints": balance.held_mpoints,
        "total_mpoints": balance.total,
        "sum_available_mpoints": added.available_mpoints,
        "sum_held_mpoints": added.held_mpoints,
    }
    return dict(shapes.StatementTotals(totals).data)
