"""The shapes of repos, rows and reports at the API."""

from typing import Any

from rest_framework import serializers

from engine.specs.formats import FORMAT_NAMES
from studio.hub.catalogue.search import SORTS
from studio.hub.models import AccessState, Gate, Kind, RefKind, Role, Visibility
from studio.hub.quality_serializers import QualityReportOutput


class RepoOutput(serializers.Serializer):
    id = serializers.CharField(help_text="namespace/name")
    kind = serializers.ChoiceField(choices=Kind.values)
    role = serializers.ChoiceField(choices=Role.values)
    owner = serializers.CharField()
    summary = serializers.CharField(allow_blank=True)
    visibility = serializers.ChoiceField(choices=Visibility.values)
    license = serializers.CharField(allow_blank=True)
    base_model = serializers.CharField(allow_null=True, help_text="Of an adapter: its base.")
    tags = serializers.ListField(child=serializers.CharField())
    size_bytes = serializers.IntegerField()
    num_rows = serializers.IntegerField(allow_null=True)
    revision = serializers.CharField(allow_blank=True, help_text="Blank while it is empty.")
    updated_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    downloads = serializers.IntegerField()
    is_mine = serializers.BooleanField()
    likes = serializers.IntegerField()
    is_liked = serializers.BooleanField(help_text="By whoever asks.")
    task = serializers.CharField(allow_blank=True)
    library = serializers.CharField(allow_blank=True)
    base_relation = serializers.CharField(allow_blank=True)
    num_params = serializers.IntegerField(allow_null=True)
    languages = serializers.ListField(child=serializers.CharField())
    modalities = serializers.ListField(child=serializers.CharField())
    formats = serializers.ListField(child=serializers.CharField())


class RepoPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = RepoOutput(many=True)


class RepoFileOutput(serializers.Serializer):
    path = serializers.CharField()
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()


class RepoRevisionOutput(serializers.Serializer):
    revision = serializers.CharField()
    message = serializers.CharField()
    author = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    tags = serializers.ListField(child=serializers.CharField())


class RepoRefOutput(serializers.Serializer):
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=RefKind.values)
    revision = serializers.CharField()


class ModelFactsOutput(serializers.Serializer):
    num_params = serializers.IntegerField()
    hidden_size = serializers.IntegerField()
    num_layers = serializers.IntegerField()
    vocab_size = serializers.IntegerField()
    max_context = serializers.IntegerField()
    memory_bytes = serializers.DictField(
        child=serializers.IntegerField(), help_text="Of the weights, by number format."
    )


class RepoWeightsOutput(serializers.Serializer):
    format = serializers.CharField(help_text="safetensors or gguf")
    num_files = serializers.IntegerField()
    num_params = serializers.IntegerField()
    dtypes = serializers.DictField(
        child=serializers.IntegerField(), help_text="How many numbers there are of each type."
    )
    memory_bytes = serializers.DictField(
        child=serializers.IntegerField(), help_text="Of the weights, by number format."
    )


class RowProblemOutput(serializers.Serializer):
    line = serializers.IntegerField()
    field = serializers.CharField(allow_blank=True)
    code = serializers.CharField()
    problem = serializers.CharField()
    mend = serializers.CharField()
    params = serializers.DictField()
    file = serializers.CharField(allow_blank=True, required=False)


class DatasetReportOutput(serializers.Serializer):
    format = serializers.ChoiceField(choices=list(FORMAT_NAMES))
    formats = serializers.ListField(child=serializers.ChoiceField(choices=list(FORMAT_NAMES)))
    num_files = serializers.IntegerField()
    share = serializers.FloatField(
        help_text="Of its bytes that were looked at; the counts are of these."
    )
    num_rows = serializers.IntegerField()
    num_good = serializers.IntegerField()
    num_bad = serializers.IntegerField()
    num_problems = serializers.IntegerField()
    problems = RowProblemOutput(many=True, help_text="The first 200.")
    num_tokens_estimate = serializers.IntegerField()
    num_supervised_tokens_estimate = serializers.IntegerField()
    longest_tokens_estimate = serializers.IntegerField()


class RepoRightsOutput(serializers.Serializer):
    read = serializers.BooleanField(help_text="Have the files.")
    write = serializers.BooleanField(help_text="Change the files.")
    manage = serializers.BooleanField(help_text="Show, gate, move and delete it.")


class RepoDetailOutput(RepoOutput):
    card = serializers.CharField(allow_blank=True, help_text="Markdown, without front matter.")
    metadata = serializers.DictField(help_text="The card's front matter.")
    files = RepoFileOutput(many=True)
    revisions = RepoRevisionOutput(many=True)
    refs = RepoRefOutput(many=True, help_text="Branches, `main` first, then tags.")
    facts = ModelFactsOutput(allow_null=True)
    weights = RepoWeightsOutput(
        allow_null=True, help_text="Told by headers alone, of any model whose weights have some."
    )
    quality = QualityReportOutput(
        allow_null=True, help_text="The report card of a quantized model."
    )
    is_quantized = serializers.BooleanField(help_text="Its weights are held in fewer bits.")
    license_name = serializers.CharField(
        allow_blank=True, help_text="In full; blank of a licence that is not known."
    )
    adapters = serializers.ListField(child=serializers.CharField())
    provenance = serializers.DictField(allow_null=True, help_text="athanor.json")
    report = DatasetReportOutput(allow_null=True)
    gate = serializers.ChoiceField(choices=Gate.values, allow_blank=True)
    can = RepoRightsOutput()
    asked = serializers.ChoiceField(
        choices=AccessState.values, allow_null=True, help_text="What became of one's own wish."
    )


class DatasetRowOutput(serializers.Serializer):
    line = serializers.IntegerField()
    row = serializers.DictField(allow_null=True)
    raw = serializers.CharField(allow_null=True, allow_blank=True)
    problems = RowProblemOutput(many=True)


class DatasetRowsOutput(serializers.Serializer):
    columns = serializers.ListField(child=serializers.CharField())
    total = serializers.IntegerField()
    offset = serializers.IntegerField()
    rows = DatasetRowOutput(many=True)


_NONE: Any = ()


class ManyField(serializers.CharField):
    """Several values in one parameter, with commas between them."""

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        return tuple(part for raw in text.split(",") if (part := raw.strip()))[:20]


def _whole() -> serializers.IntegerField:
    return serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=0, max_value=2**62
    )


def _text(**more: object) -> serializers.CharField:
    return serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=200,
        **more,  # type: ignore[arg-type]
    )


def _many() -> ManyField:
    return ManyField(
        required=False, default=_NONE, max_length=1000, help_text="One or more, by comma"
    )


class RepoListInput(serializers.Serializer):
    kind = serializers.ChoiceField(choices=Kind.values, required=False, default="")
    role = serializers.ChoiceField(choices=Role.values, required=False, default="")
    search = _text(help_text="Words of the name, the summary, the labels and the card.")
    owner = _text()
    organization = _text(help_text="The namespace: an organization's, a course's or a person's.")
    visibility = serializers.ChoiceField(choices=Visibility.values, required=False, default="")
    task = _many()
    language = _many()
    modality = _many()
    format = _many()
    tag = ManyField(
        required=False, default=_NONE, max_length=1000, help_text="One or more: all are needed."
    )
    license = ManyField(required=False, default=_NONE, max_length=1000)
    library = _many()
    base_model = _text()
    base_relation = _text()
    min_size = _whole()
    max_size = _whole()
    min_rows = _whole()
    max_rows = _whole()
    min_params = _whole()
    max_params = _whole()
    updated_since = serializers.DateTimeField(
        required=False,
        allow_null=True,
        default=None,
        input_formats=["iso-8601", "%Y-%m-%d"],
        help_text="A date or a time.",
    )
    gated = serializers.BooleanField(required=False, allow_null=True, default=None)
    liked = serializers.BooleanField(required=False, default=False)
    sort = serializers.ChoiceField(choices=list(SORTS), required=False, default="updated")


class FacetValueOutput(serializers.Serializer):
    value = serializers.CharField()
    count = serializers.IntegerField()


class FacetsOutput(serializers.Serializer):
    task = FacetValueOutput(many=True)
    language = FacetValueOutput(many=True)
    modality = FacetValueOutput(many=True)
    format = FacetValueOutput(many=True)
    license = FacetValueOutput(many=True)
    library = FacetValueOutput(many=True)
    organization = FacetValueOutput(many=True)
    tag = FacetValueOutput(many=True)


class LikeOutput(serializers.Serializer):
    likes = serializers.IntegerField()
    is_liked = serializers.BooleanField()


class RevisionInput(serializers.Serializer):
    revision = serializers.CharField(required=False, default="main", max_length=100)


class DatasetRowsInput(RevisionInput):
    offset = serializers.IntegerField(required=False, default=0, min_value=0, max_value=2**48)
    limit = serializers.IntegerField(required=False, default=20, min_value=1, max_value=200)
    search = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)


class RepoUpdateInput(serializers.Serializer):
    visibility = serializers.ChoiceField(choices=Visibility.values, required=False)
    gate = serializers.ChoiceField(choices=Gate.values, required=False, allow_blank=True)
    summary = serializers.CharField(required=False, allow_blank=True, max_length=300)


class DatasetCheckInput(serializers.Serializer):
    file = serializers.FileField(allow_empty_file=True)


class DatasetUploadInput(DatasetCheckInput):
    name = serializers.CharField(max_length=200)
    visibility = serializers.ChoiceField(
        choices=Visibility.values, required=False, default=Visibility.PRIVATE
    )
    summary = serializers.CharField(required=False, allow_blank=True, default="", max_length=300)


class PreuploadFile(serializers.Serializer):
    path = serializers.CharField(max_length=2000, trim_whitespace=False)
    size = serializers.IntegerField(min_value=0)
    sample = serializers.CharField(required=False, allow_blank=True)


class PreuploadInput(serializers.Serializer):
    files = PreuploadFile(many=True)
    gitIgnore = serializers.CharField(required=False, allow_blank=True)  # the Hub's own spelling
