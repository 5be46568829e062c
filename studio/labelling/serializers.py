"""The shapes of labelling at the API."""

from rest_framework import serializers

from studio.hub.models import Visibility
from studio.hub.serializers import RowProblemOutput
from studio.labelling.models import MOST_ANNOTATORS, AnswerState, DraftingState, TaskKind
from studio.labelling.results import DROP, KEEP

_MOST_ROW = 2**48
VERDICTS = ["accept", "reject", "edit", "first", "second", "tie", "both_bad", "tagged"]


class LabellingListInput(serializers.Serializer):
    dataset = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)


class LabellingInput(serializers.Serializer):
    dataset = serializers.CharField(max_length=200, help_text="namespace/name")
    revision = serializers.CharField(required=False, default="main", max_length=100)
    kind = serializers.ChoiceField(choices=TaskKind.choices)
    name = serializers.CharField(required=False, default="", allow_blank=True, max_length=120)
    instructions = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=20_000
    )
    text_field = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=200,
        help_text="Of spans: dotted path of the text, such as messages.1.content.",
    )
    labels = serializers.ListField(
        child=serializers.CharField(max_length=80), required=False, default=list, max_length=50
    )
    num_annotators = serializers.IntegerField(
        required=False, default=1, min_value=1, max_value=MOST_ANNOTATORS
    )
    shows_names = serializers.BooleanField(required=False, default=True)


class LabellingUpdateInput(serializers.Serializer):
    name = serializers.CharField(required=False, max_length=120)
    instructions = serializers.CharField(required=False, allow_blank=True, max_length=20_000)
    labels = serializers.ListField(
        child=serializers.CharField(max_length=80), required=False, max_length=50
    )
    shows_names = serializers.BooleanField(required=False)
    is_open = serializers.BooleanField(required=False)


class LabellingOutput(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    owner = serializers.CharField()
    is_mine = serializers.BooleanField()
    kind = serializers.ChoiceField(choices=TaskKind.choices)
    dataset = serializers.CharField()
    revision = serializers.CharField()
    path = serializers.CharField()
    num_rows = serializers.IntegerField()
    num_annotators = serializers.IntegerField(help_text="How many people answer each row.")
    num_answers = serializers.IntegerField()
    num_done = serializers.IntegerField(help_text="Rows with all their answers.")
    is_open = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class LabellingMemberOutput(serializers.Serializer):
    username = serializers.CharField()
    is_active = serializers.BooleanField()
    joined_at = serializers.DateTimeField()


class DraftingOutput(serializers.Serializer):
    id = serializers.UUIDField()
    model = serializers.CharField()
    state = serializers.ChoiceField(choices=DraftingState.choices)
    code = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    first_row = serializers.IntegerField()
    next_row = serializers.IntegerField()
    end_row = serializers.IntegerField()
    num_made = serializers.IntegerField()
    num_failed = serializers.IntegerField()
    limit_mpoints = serializers.IntegerField()
    spent_mpoints = serializers.IntegerField()
    spent_ms = serializers.IntegerField()
    created_at = serializers.DateTimeField()


class LabellingDetailOutput(LabellingOutput):
    instructions = serializers.CharField(allow_blank=True)
    text_field = serializers.CharField(allow_blank=True)
    labels = serializers.ListField(child=serializers.CharField())
    shows_names = serializers.BooleanField()
    needs_drafts = serializers.BooleanField(
        help_text="The second answers are a model's: a row waits for its draft."
    )
    num_drafted = serializers.IntegerField(help_text="Rows before this one were drafted.")
    is_member = serializers.BooleanField()
    num_mine = serializers.IntegerField(help_text="Rows that the caller has answered.")
    formats = serializers.ListField(child=serializers.CharField())
    members = LabellingMemberOutput(many=True)
    drafting = DraftingOutput(allow_null=True)


class LabellingPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = LabellingOutput(many=True)


class MemberInput(serializers.Serializer):
    username = serializers.CharField(max_length=150)


class TurnOutput(serializers.Serializer):
    role = serializers.CharField()
    content = serializers.CharField(allow_blank=True)


class SpanOutput(serializers.Serializer):
    start = serializers.IntegerField(help_text="In Unicode code points.")
    end = serializers.IntegerField(help_text="Behind the last one.")
    label = serializers.CharField()  # type: ignore[assignment]


class LabelDraftOutput(serializers.Serializer):
    model = serializers.CharField()
    text = serializers.CharField(allow_blank=True)
    spans = SpanOutput(many=True)


class LabelWorkOutput(serializers.Serializer):
    row = serializers.IntegerField(help_text="From 0.")
    line = serializers.IntegerField(help_text="Of the file, from 1.")
    state = serializers.ChoiceField(choices=AnswerState.choices)
    revision = serializers.IntegerField(help_text="Send it back with the answer.")
    verdict = serializers.CharField(allow_blank=True)
    messages = TurnOutput(many=True, allow_null=True, help_text="Of review: the turns.")
    prompt = TurnOutput(many=True, allow_null=True, help_text="Of rank: the question.")
    answers = serializers.ListField(
        child=serializers.CharField(allow_blank=True),
        help_text="Of rank: in an order that differs between people; verdicts follow it.",
    )
    drafted = serializers.ListField(
        child=serializers.BooleanField(), help_text="Of rank: which answers are a model's."
    )
    text = serializers.CharField(allow_null=True, allow_blank=True, help_text="Of spans.")
    raw = serializers.CharField(allow_null=True, allow_blank=True)
    problems = RowProblemOutput(many=True)
    draft = LabelDraftOutput(allow_null=True)
    edited = TurnOutput(many=True, allow_null=True, help_text="What this person made of it.")
    spans = SpanOutput(many=True)
    reason = serializers.CharField(allow_blank=True)
    unsent = serializers.DictField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    before = serializers.IntegerField(allow_null=True, help_text="The row answered before it.")
    after = serializers.IntegerField(allow_null=True)


class LabelNextOutput(serializers.Serializer):
    work = LabelWorkOutput(allow_null=True, help_text="None when there is no row left.")
    num_mine = serializers.IntegerField()


class TurnPartInput(serializers.Serializer):
    role = serializers.CharField(max_length=40)
    content = serializers.CharField(allow_blank=True, trim_whitespace=False)


class SpanInput(serializers.Serializer):
    start = serializers.IntegerField(min_value=0, max_value=_MOST_ROW)
    end = serializers.IntegerField(min_value=0, max_value=_MOST_ROW)
    label = serializers.CharField(max_length=80)  # type: ignore[assignment]


class SaidInput(serializers.Serializer):
    verdict = serializers.ChoiceField(choices=VERDICTS)
    messages = TurnPartInput(many=True, required=False, help_text="Of an edit.")
    spans = SpanInput(many=True, required=False)
    reason = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=4000, trim_whitespace=False
    )
    from_draft = serializers.BooleanField(required=False, default=False)


class LabelAnswerInput(SaidInput):
    revision = serializers.IntegerField(min_value=0, max_value=2**31 - 1)


class UnsentInput(serializers.Serializer):
    revision = serializers.IntegerField(min_value=0, max_value=2**31 - 1)
    unsent = serializers.DictField()


class LabelDisputesInput(serializers.Serializer):
    which = serializers.ChoiceField(
        choices=["open", "decided", "all"], required=False, default="open"
    )


class LabelSaidOutput(serializers.Serializer):
    username = serializers.CharField()
    verdict = serializers.CharField()
    reason = serializers.CharField(allow_blank=True)
    messages = TurnOutput(many=True, allow_null=True)
    spans = SpanOutput(many=True)
    at = serializers.DateTimeField(allow_null=True)


class LabelDecisionOutput(serializers.Serializer):
    verdict = serializers.CharField()
    reason = serializers.CharField(allow_blank=True)
    messages = TurnOutput(many=True, allow_null=True)
    spans = SpanOutput(many=True)


class LabelDisputeOutput(serializers.Serializer):
    row = serializers.IntegerField()
    answers = LabelSaidOutput(many=True)
    decision = LabelDecisionOutput(allow_null=True)


class LabelDisputePageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = LabelDisputeOutput(many=True)


class LabelRowOutput(serializers.Serializer):
    row = serializers.IntegerField()
    line = serializers.IntegerField()
    messages = TurnOutput(many=True, allow_null=True)
    prompt = TurnOutput(many=True, allow_null=True)
    answers = serializers.ListField(child=serializers.CharField(allow_blank=True))
    text = serializers.CharField(allow_null=True, allow_blank=True)
    raw = serializers.CharField(allow_null=True, allow_blank=True)


class LabelPersonOutput(serializers.Serializer):
    username = serializers.CharField()
    is_active = serializers.BooleanField()
    num_done = serializers.IntegerField()
    num_skipped = serializers.IntegerField()
    median_seconds = serializers.FloatField(allow_null=True)
    agreement = serializers.FloatField(allow_null=True, help_text="With the others, 0..1.")


class LabelPairOutput(serializers.Serializer):
    left = serializers.CharField()
    right = serializers.CharField()
    num_rows = serializers.IntegerField()
    agreement = serializers.FloatField(allow_null=True)
    kappa = serializers.FloatField(allow_null=True, help_text="Cohen's.")


class LabelFiguresOutput(serializers.Serializer):
    num_shared_rows = serializers.IntegerField()
    num_disputed = serializers.IntegerField()
    num_decided = serializers.IntegerField()
    percent_agreement = serializers.FloatField(allow_null=True)
    alpha = serializers.FloatField(allow_null=True, help_text="Krippendorff's, nominal.")
    kappa = serializers.FloatField(allow_null=True, help_text="Cohen's, of exactly two.")
    span_f1 = serializers.FloatField(allow_null=True, help_text="Exact spans.")
    overlap_f1 = serializers.FloatField(allow_null=True, help_text="Labelled characters.")
    verdicts = serializers.DictField(child=serializers.IntegerField())
    people = LabelPersonOutput(many=True)
    pairs = LabelPairOutput(many=True)


class DraftingCostInput(serializers.Serializer):
    num_rows = serializers.IntegerField(min_value=1, max_value=100_000)
    model = serializers.CharField(
        max_length=300, allow_blank=True, default="", help_text="Some are served at another price."
    )


class DraftingCostOutput(serializers.Serializer):
    num_rows = serializers.IntegerField()
    seconds = serializers.FloatField()
    mpoints = serializers.IntegerField()
    rate_mpoints_per_hour = serializers.IntegerField()
    is_measured = serializers.BooleanField()


class DraftingInput(serializers.Serializer):
    model = serializers.CharField(max_length=300)
    num_rows = serializers.IntegerField(required=False, default=100, min_value=1, max_value=100_000)
    system = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=20_000, trim_whitespace=False
    )
    temperature = serializers.FloatField(required=False, default=0.7, min_value=0, max_value=2)
    max_tokens = serializers.IntegerField(required=False, default=512, min_value=1, max_value=8192)
    limit_mpoints = serializers.IntegerField(
        required=False, default=0, min_value=0, max_value=10**12
    )


class LabelSaveInput(serializers.Serializer):
    format = serializers.CharField(max_length=20)
    rest = serializers.ChoiceField(
        choices=[KEEP, DROP], required=False, default=KEEP, help_text="Rows that nothing settled."
    )
    new_name = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=96,
        help_text="A new dataset; empty makes a revision of the labelled one.",
    )
    visibility = serializers.ChoiceField(
        choices=Visibility.values, required=False, default=Visibility.PRIVATE
    )
    message = serializers.CharField(required=False, default="", allow_blank=True, max_length=300)


class LabelSavedOutput(serializers.Serializer):
    dataset = serializers.CharField()
    revision = serializers.CharField()
    message = serializers.CharField()


class LabelExportInput(serializers.Serializer):
    rest = serializers.ChoiceField(choices=[KEEP, DROP], required=False, default=DROP)
