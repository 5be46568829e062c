"""The shapes of jobs and runs at the API."""

from typing import get_args

from rest_framework import serializers

from engine.specs.formats import FORMAT_NAMES
from engine.specs.stages import FormatVerdict, StageName
from engine.status import Reason, Status
from studio.core.sentences import ToldOutput
from studio.hub.serializers import RowProblemOutput

STATUSES = [status.value for status in Status]
ARTIFACT_ROLES = ["adapter", "checkpoint", "model", "report"]
EVENT_TYPES = ["log", "metric", "progress", "artifact", "sample", "preview", "endpoint", "status"]
REASONS = [reason.value for reason in Reason if reason.value]
FORMATS = list(FORMAT_NAMES)
VERDICTS = [*get_args(FormatVerdict), "unknown"]


class JobProgressOutput(serializers.Serializer):
    stage = serializers.CharField()
    done = serializers.FloatField()
    total = serializers.FloatField(allow_null=True)
    unit = serializers.CharField(allow_blank=True)
    eta_s = serializers.FloatField(allow_null=True)


class RunArtifactOutput(serializers.Serializer):
    name = serializers.CharField()
    role = serializers.ChoiceField(choices=ARTIFACT_ROLES)
    path = serializers.CharField(allow_null=True)
    repo = serializers.CharField(allow_null=True)
    revision = serializers.CharField(allow_null=True)
    size_bytes = serializers.IntegerField(allow_null=True)
    step = serializers.IntegerField(allow_null=True)


class RunOutput(serializers.Serializer):
    id = serializers.UUIDField()
    index = serializers.IntegerField(help_text="From 1: which attempt at the job.")
    status = serializers.ChoiceField(choices=STATUSES)
    reason = serializers.ChoiceField(choices=REASONS, allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    told = ToldOutput(allow_null=True, help_text="The message, for pages in other languages.")
    node = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    last_heartbeat_at = serializers.DateTimeField(allow_null=True)
    is_silent = serializers.BooleanField(help_text="No sign of life for 15 s or more.")
    next_seq = serializers.IntegerField()
    log_bytes = serializers.IntegerField()
    log_lines = serializers.IntegerField()
    log_complete = serializers.BooleanField(allow_null=True, help_text="Null until it has ended.")
    exit_code = serializers.IntegerField(allow_null=True)
    cost_mpoints = serializers.IntegerField()
    artifacts = RunArtifactOutput(many=True)
    latest_metrics = serializers.DictField(child=serializers.FloatField(allow_null=True))


class JobOutput(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.CharField()
    owner = serializers.CharField()
    spec = serializers.DictField(help_text="As it was launched.")
    resolved = serializers.DictField(
        help_text="Its repos, pinned to commits; a script's inputs by their place."
    )
    flavor = serializers.CharField()
    status = serializers.ChoiceField(choices=STATUSES)
    reason = serializers.ChoiceField(choices=REASONS, allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    told = ToldOutput(allow_null=True, help_text="The message, for pages in other languages.")
    status_since = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    progress = JobProgressOutput(allow_null=True)
    cost_mpoints = serializers.IntegerField()
    held_mpoints = serializers.IntegerField()
    price_mpoints_per_hour = serializers.IntegerField()
    queue_position = serializers.IntegerField(allow_null=True, help_text="From 1, while queued.")
    can_stop = serializers.BooleanField()
    can_retry = serializers.BooleanField()
    can_resume = serializers.BooleanField()
    output_repo = serializers.CharField(allow_null=True)
    output_revision = serializers.CharField(allow_null=True)
    run = RunOutput(help_text="The latest.")
    runs = RunOutput(many=True)


class JobPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = JobOutput(many=True)


class JobCreateInput(serializers.Serializer):
    name = serializers.CharField(required=False, allow_blank=True, default="", max_length=120)
    spec = serializers.DictField()
    flavor = serializers.CharField(max_length=40)


class JobUpdateInput(serializers.Serializer):
    name = serializers.CharField(max_length=120)


class JobRetryInput(serializers.Serializer):
    resume = serializers.BooleanField(default=False)


class JobEstimateInput(serializers.Serializer):
    spec = serializers.DictField()
    flavor = serializers.CharField(max_length=40)


class JobListInput(serializers.Serializer):
    status = serializers.CharField(required=False, default="", help_text="`live` or statuses.")
    kind = serializers.CharField(required=False, default="")
    search = serializers.CharField(required=False, default="", max_length=200)
    mine = serializers.BooleanField(required=False, default=False)


class MendSetOutput(serializers.Serializer):
    flavor = serializers.CharField(required=False)
    spec = serializers.DictField(required=False, help_text="Fields of the spec to change.")


class MendOutput(serializers.Serializer):
    code = serializers.CharField()
    params = serializers.DictField()
    set = MendSetOutput()


class RefusalOutput(serializers.Serializer):
    code = serializers.CharField()
    message = serializers.CharField()
    field = serializers.CharField(allow_null=True)
    params = serializers.DictField()
    mend = MendOutput(allow_null=True)


class JobEstimateOutput(serializers.Serializer):
    ok = serializers.BooleanField()
    peak_memory_bytes = serializers.IntegerField(allow_null=True)
    memory_parts = serializers.DictField(child=serializers.IntegerField())
    flavor_memory_bytes = serializers.IntegerField(allow_null=True)
    duration_s = serializers.FloatField(allow_null=True)
    duration_basis = serializers.ChoiceField(
        choices=["runs", "machine", "guess"],
        allow_null=True,
        help_text="By earlier runs of this model, by this flavor's machines, or by guess.",
    )
    duration_num_runs = serializers.IntegerField(help_text="Earlier runs that it rests on.")
    num_steps = serializers.IntegerField(allow_null=True)
    num_tokens = serializers.IntegerField(allow_null=True)
    cost_mpoints = serializers.IntegerField(allow_null=True)
    hold_mpoints = serializers.IntegerField(allow_null=True)
    available_mpoints = serializers.IntegerField()
    smallest_flavor = serializers.CharField(allow_null=True)
    refusals = RefusalOutput(many=True)
    warnings = RefusalOutput(many=True)


class RunEventsInput(serializers.Serializer):
    after = serializers.IntegerField(
        required=False, default=0, min_value=0, max_value=2**62, help_text="First seq wanted."
    )
    limit = serializers.IntegerField(required=False, default=500, min_value=1, max_value=5000)
    type = serializers.ChoiceField(
        required=False,
        default="",
        choices=EVENT_TYPES,
    )


class RunEventOutput(serializers.Serializer):
    """One event of any type: the fields beyond the first three depend on it."""

    seq = serializers.IntegerField()
    time = serializers.FloatField(help_text="Unix seconds on the node's clock.")
    type = serializers.ChoiceField(choices=EVENT_TYPES)
    text = serializers.CharField(required=False, help_text="log")
    first_line = serializers.IntegerField(required=False, help_text="log")
    step = serializers.IntegerField(required=False, allow_null=True)
    values = serializers.DictField(
        required=False, child=serializers.FloatField(allow_null=True), help_text="metric"
    )
    stage = serializers.CharField(required=False, help_text="progress")
    done = serializers.FloatField(required=False)
    total = serializers.FloatField(required=False, allow_null=True)
    unit = serializers.CharField(required=False)
    eta_s = serializers.FloatField(required=False, allow_null=True)
    name = serializers.CharField(required=False, help_text="artifact")
    role = serializers.CharField(required=False)
    path = serializers.CharField(required=False, allow_null=True)
    repo = serializers.CharField(required=False, allow_null=True)
    revision = serializers.CharField(required=False, allow_null=True)
    size_bytes = serializers.IntegerField(required=False, allow_null=True)
    prompt = serializers.CharField(required=False, help_text="sample")
    completion = serializers.CharField(required=False)
    inspection = serializers.DictField(required=False, help_text="preview")
    url = serializers.CharField(required=False, help_text="endpoint")
    models = serializers.ListField(required=False, child=serializers.CharField())
    status = serializers.ChoiceField(required=False, choices=STATUSES, help_text="status")
    reason = serializers.ChoiceField(required=False, choices=REASONS, allow_blank=True)
    message = serializers.CharField(required=False)
    exit_code = serializers.IntegerField(required=False, allow_null=True)
    log_bytes = serializers.IntegerField(required=False, allow_null=True)
    log_sha256 = serializers.CharField(required=False, allow_null=True)


class RunEventsOutput(serializers.Serializer):
    events = RunEventOutput(many=True)
    next_seq = serializers.IntegerField()


class RunMetricsOutput(serializers.Serializer):
    series = serializers.DictField(
        child=serializers.ListField(
            child=serializers.ListField(child=serializers.FloatField(allow_null=True))
        ),
        help_text="By name: [step, value, time].",
    )


class RunSampleOutput(serializers.Serializer):
    step = serializers.IntegerField()
    prompt = serializers.CharField()
    completion = serializers.CharField()
    time = serializers.FloatField()


class RunLogInput(serializers.Serializer):
    from_line = serializers.IntegerField(
        required=False, default=0, min_value=-(2**62), max_value=2**62
    )
    limit = serializers.IntegerField(required=False, default=1000, min_value=1, max_value=10_000)


class RunLogOutput(serializers.Serializer):
    first_line = serializers.IntegerField()
    lines = serializers.ListField(child=serializers.CharField(allow_blank=True))
    total_lines = serializers.IntegerField()
    log_bytes = serializers.IntegerField()
    complete = serializers.BooleanField(allow_null=True)


class RunLogSearchInput(serializers.Serializer):
    q = serializers.CharField(max_length=200, trim_whitespace=False)
    limit = serializers.IntegerField(required=False, default=200, min_value=1, max_value=2000)


class RunLogMatchOutput(serializers.Serializer):
    line = serializers.IntegerField()
    text = serializers.CharField(allow_blank=True)


class RunLogSearchOutput(serializers.Serializer):
    count = serializers.IntegerField()
    matches = RunLogMatchOutput(many=True)


class SpecUsualOutput(serializers.Serializer):
    defaults = serializers.DictField(help_text="Where they differ from the schema's.")
    presets = serializers.DictField(
        child=serializers.DictField(), help_text="By name: what to change of the defaults."
    )


class SpecOutput(serializers.Serializer):
    schema = serializers.DictField(help_text="JSON Schema: what the launch form is drawn from.")
    usual = serializers.DictField(
        child=serializers.DictField(child=SpecUsualOutput()),
        help_text="Of a training, by stage and method.",
    )


class SuitedInput(serializers.Serializer):
    stage = serializers.ChoiceField(choices=list(get_args(StageName)), default="sft")
    search = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)


class SuitedOutput(serializers.Serializer):
    id = serializers.CharField(help_text="namespace/name")
    num_rows = serializers.IntegerField(allow_null=True)
    size_bytes = serializers.IntegerField()
    formats = serializers.ListField(child=serializers.ChoiceField(choices=FORMATS))
    verdict = serializers.ChoiceField(
        choices=VERDICTS,
        help_text="Whether the stage learns from it: `needs_pairs`, `is_pairs` and `unknown` are "
        "refused at the launch.",
    )


class FileContractOutput(serializers.Serializer):
    name = serializers.CharField()
    format = serializers.CharField()
    num_rows = serializers.IntegerField()
    num_kept = serializers.IntegerField()
    num_bad = serializers.IntegerField()
    num_zero_loss = serializers.IntegerField()
    num_cut = serializers.IntegerField()
    num_ends_added = serializers.IntegerField()
    num_without_end = serializers.IntegerField()
    num_samples = serializers.IntegerField()
    num_tokens = serializers.IntegerField()
    num_supervised_tokens = serializers.IntegerField()
    longest_tokens = serializers.IntegerField()
    dropped = serializers.DictField(child=serializers.IntegerField())
    problems = RowProblemOutput(many=True)


class SourceContractOutput(serializers.Serializer):
    name = serializers.CharField()
    weight = serializers.FloatField()
    files = FileContractOutput(many=True)


class DataContractOutput(serializers.Serializer):
    sources = SourceContractOutput(many=True)
    max_length = serializers.IntegerField()
    max_bad_fraction = serializers.FloatField()


class SegmentOutput(serializers.Serializer):
    text = serializers.CharField(allow_blank=True, trim_whitespace=False)
    weight = serializers.FloatField(help_text="0 is not learnt.")
    num_tokens = serializers.IntegerField()


class ShownSampleOutput(serializers.Serializer):
    file = serializers.CharField()
    row = serializers.IntegerField()
    source = serializers.IntegerField()  # type: ignore[assignment]  # a field's own argument
    side = serializers.ChoiceField(choices=["", "chosen", "rejected"], allow_blank=True)
    num_tokens = serializers.IntegerField()
    segments = SegmentOutput(many=True)
    is_cut = serializers.BooleanField()


class InspectionOutput(serializers.Serializer):
    contract = DataContractOutput()
    samples = ShownSampleOutput(many=True)
    is_whole = serializers.BooleanField(help_text="Every row was rendered, not the first alone.")


class PreviewInput(serializers.Serializer):
    spec = serializers.DictField(
        help_text="Of a training: model, dataset, mixture, stage and max_length are read."
    )


class PreviewOutput(serializers.Serializer):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=STATUSES)
    reason = serializers.ChoiceField(choices=REASONS, allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    told = ToldOutput(allow_null=True, help_text="The message, for pages in other languages.")
    inspection = InspectionOutput(allow_null=True)
