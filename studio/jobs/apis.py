"""Jobs and runs at the API: parse, call one service or selector, shape the answer."""

from typing import Any
from uuid import UUID

from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from engine.specs import ScriptSpec, Spec, TrainSpec
from engine.specs.presets import list_usual
from studio.accounts.models import User
from studio.core.errors import NotFound
from studio.core.pagination import Pages
from studio.jobs import serializers as shapes
from studio.jobs.advisor import Advice, advise
from studio.jobs.history import read_events, read_metrics, read_samples
from studio.jobs.logs import read_lines, search_lines, stream_bytes
from studio.jobs.models import Job
from studio.jobs.refusals import Refusal
from studio.jobs.selectors import (
    JobFilter,
    describe_job,
    describe_jobs,
    get_job,
    get_run,
    list_jobs,
)
from studio.jobs.services import rename_job, retry_job, stop_job, submit_job

_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Makes it safe to send the launch again: the same key answers the same job.",
)
_SPECS: dict[str, type[Spec]] = {"train": TrainSpec, "script": ScriptSpec}


def read(serializer: type, data: Any) -> dict[str, Any]:
    """Return the validated input of a view."""
    given = serializer(data=data)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


def viewer_of(request: Request) -> User:
    """Return who asks; the permission class has let nobody else in."""
    assert isinstance(request.user, User)
    return request.user


def show(job: Job) -> dict[str, Any]:
    """Return the job as the API shows it."""
    return dict(shapes.JobOutput(describe_job(job)).data)


class SpecApi(APIView):
    @extend_schema(responses=shapes.SpecOutput)
    def get(self, request: Request, kind: str) -> Response:
        if kind not in _SPECS:
            raise NotFound(f"There is no spec of kind {kind!r}; there is {', '.join(_SPECS)}.")
        usual = list_usual() if kind == "train" else {}
        return Response({"schema": _SPECS[kind].model_json_schema(), "usual": usual})


class JobListApi(APIView):
    @extend_schema(
        operation_id="jobs_list",
        parameters=[
            shapes.JobListInput,
            OpenApiParameter("page", int),
            OpenApiParameter("page_size", int),
        ],
        responses=shapes.JobPageOutput,
    )
    def get(self, request: Request) -> Response:
        wanted = read(shapes.JobListInput, request.query_params)
        narrowed = JobFilter(wanted["status"], wanted["kind"], wanted["search"], wanted["mine"])
        pages = Pages()
        page = pages.paginate_queryset(list_jobs(viewer_of(request), narrowed), request, view=self)
        shown = shapes.JobOutput(describe_jobs(page or []), many=True).data
        return pages.get_paginated_response(shown)

    @extend_schema(
        parameters=[_KEY],
        request=shapes.JobCreateInput,
        responses={201: shapes.JobOutput, 200: shapes.JobOutput},
    )
    def post(self, request: Request) -> Response:
        wish = read(shapes.JobCreateInput, request.data)
        job, is_new = submit_job(
            owner=viewer_of(request),
            spec=wish["spec"],
            flavor_name=wish["flavor"],
            name=wish["name"],
            key=request.headers.get("Idempotency-Key"),
        )
        return Response(show(get_job(viewer_of(request), job.pk)), status=201 if is_new else 200)


class JobEstimateApi(APIView):
    required_scope = "read"

    @extend_schema(request=shapes.JobEstimateInput, responses=shapes.JobEstimateOutput)
    def post(self, request: Request) -> Response:
        wish = read(shapes.JobEstimateInput, request.data)
        return Response(_show_advice(advise(viewer_of(request), wish["spec"], wish["flavor"])))


class JobApi(APIView):
    @extend_schema(responses=shapes.JobOutput)
    def get(self, request: Request, job_id: UUID) -> Response:
        return Response(show(get_job(viewer_of(request), job_id)))

    @extend_schema(request=shapes.JobUpdateInput, responses=shapes.JobOutput)
    def patch(self, request: Request, job_id: UUID) -> Response:
        wish = read(shapes.JobUpdateInput, request.data)
        job = rename_job(
            by=viewer_of(request), job=get_job(viewer_of(request), job_id), name=wish["name"]
        )
        return Response(show(job))


class JobStopApi(APIView):
    @extend_schema(request=None, responses=shapes.JobOutput)
    def post(self, request: Request, job_id: UUID) -> Response:
        stop_job(by=viewer_of(request), job=get_job(viewer_of(request), job_id))
        return Response(show(get_job(viewer_of(request), job_id)))


class JobRetryApi(APIView):
    @extend_schema(request=shapes.JobRetryInput, responses=shapes.JobOutput)
    def post(self, request: Request, job_id: UUID) -> Response:
        wish = read(shapes.JobRetryInput, request.data)
        retry_job(
            by=viewer_of(request), job=get_job(viewer_of(request), job_id), resume=wish["resume"]
        )
        return Response(show(get_job(viewer_of(request), job_id)))


class RunEventsApi(APIView):
    @extend_schema(parameters=[shapes.RunEventsInput], responses=shapes.RunEventsOutput)
    def get(self, request: Request, run_id: UUID) -> Response:
        run = get_run(viewer_of(request), run_id)
        wanted = read(shapes.RunEventsInput, request.query_params)
        events, next_seq = read_events(
            run, after=wanted["after"], limit=wanted["limit"], kind=wanted["type"]
        )
        return Response({"events": events, "next_seq": next_seq})


class RunMetricsApi(APIView):
    @extend_schema(responses=shapes.RunMetricsOutput)
    def get(self, request: Request, run_id: UUID) -> Response:
        return Response({"series": read_metrics(get_run(viewer_of(request), run_id))})


class RunSamplesApi(APIView):
    @extend_schema(responses=shapes.RunSampleOutput(many=True))
    def get(self, request: Request, run_id: UUID) -> Response:
        return Response(read_samples(get_run(viewer_of(request), run_id)))


class RunLogApi(APIView):
    @extend_schema(parameters=[shapes.RunLogInput], responses=shapes.RunLogOutput)
    def get(self, request: Request, run_id: UUID) -> Response:
        run = get_run(viewer_of(request), run_id)
        wanted = read(shapes.RunLogInput, request.query_params)
        page = read_lines(run, from_line=wanted["from_line"], limit=wanted["limit"])
        return Response(
            {
                "first_line": page.first_line,
                "lines": page.lines,
                "total_lines": run.log_lines,
                "log_bytes": run.log_bytes,
                "complete": run.log_complete if run.is_final else None,
            }
        )


class RunLogSearchApi(APIView):
    @extend_schema(parameters=[shapes.RunLogSearchInput], responses=shapes.RunLogSearchOutput)
    def get(self, request: Request, run_id: UUID) -> Response:
        run = get_run(viewer_of(request), run_id)
        wanted = read(shapes.RunLogSearchInput, request.query_params)
        count, matches = search_lines(run, query=wanted["q"], limit=wanted["limit"])
        shown = [{"line": match.line, "text": match.text} for match in matches]
        return Response({"count": count, "matches": shown})


class RunLogDownloadApi(APIView):
    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.BINARY})
    def get(self, request: Request, run_id: UUID) -> HttpResponseBase:
        run = get_run(viewer_of(request), run_id)
        response = StreamingHttpResponse(
            stream_bytes(run), content_type="text/plain; charset=utf-8"
        )
        response.headers["Content-Length"] = str(run.log_bytes)
        response.headers["Content-Disposition"] = f'attachment; filename="run-{run.pk}.log"'
        return response


def _show_advice(advice: Advice) -> dict[str, Any]:
    estimate = advice.estimate
    return {
        "ok": not advice.refusals,
        "peak_memory_bytes": estimate and estimate.peak_memory_bytes,
        "memory_parts": estimate.memory_parts if estimate else {},
        "flavor_memory_bytes": advice.memory_bytes,
        "duration_s": estimate and estimate.duration_s,
        "duration_basis": _name_basis(advice),
        "duration_num_runs": advice.speed.num_runs if advice.speed else 0,
        "num_steps": estimate and estimate.num_steps,
        "num_tokens": estimate and estimate.num_tokens,
        "cost_mpoints": advice.cost_mpoints,
        "hold_mpoints": advice.hold_mpoints,
        "available_mpoints": advice.available_mpoints,
        "smallest_flavor": advice.smallest_flavor,
        "refusals": [_show_refusal(refusal) for refusal in advice.refusals],
        "warnings": [_show_refusal(warning) for warning in advice.warnings],
    }


def _name_basis(advice: Advice) -> str | None:
    if advice.estimate is None:
        return None
    return advice.speed.basis if advice.speed else "guess"


def _show_refusal(refusal: Refusal) -> dict[str, Any]:
    mend = refusal.mend
    return {
        "code": refusal.code,
        "message": refusal.message,
        "field": refusal.field,
        "params": refusal.params,
        "mend": mend and {"code": mend.code, "params": mend.params, "set": mend.set},
    }
