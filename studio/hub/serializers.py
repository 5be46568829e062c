"""The shapes of repos, rows and reports at the API."""

from rest_framework import serializers

from studio.hub.models import Kind, Role, Visibility


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


class ModelFactsOutput(serializers.Serializer):
    num_params = serializers.IntegerField()
    hidden_size = serializers.IntegerField()
    num_layers = serializers.IntegerField()
    vocab_size = serializers.IntegerField()
    max_context = serializers.IntegerField()
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


class DatasetReportOutput(serializers.Serializer):
    num_rows = serializers.IntegerField()
    num_good = serializers.IntegerField()
    num_bad = serializers.IntegerField()
    num_problems = serializers.IntegerField()
    problems = RowProblemOutput(many=True, help_text="The first 200.")
    num_tokens_estimate = serializers.IntegerField()
    num_supervised_tokens_estimate = serializers.IntegerField()
    longest_tokens_estimate = serializers.IntegerField()


class RepoDetailOutput(RepoOutput):
    card = serializers.CharField(allow_blank=True, help_text="Markdown, without front matter.")
    metadata = serializers.DictField(help_text="The card's front matter.")
    files = RepoFileOutput(many=True)
    revisions = RepoRevisionOutput(many=True)
    facts = ModelFactsOutput(allow_null=True)
    adapters = serializers.ListField(child=serializers.CharField())
    provenance = serializers.DictField(allow_null=True, help_text="athanor.json")
    report = DatasetReportOutput(allow_null=True)


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


class RepoListInput(serializers.Serializer):
    kind = serializers.ChoiceField(choices=Kind.values, required=False, default="")
    role = serializers.ChoiceField(choices=Role.values, required=False, default="")
    search = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)
    owner = serializers.CharField(required=False, default="", allow_blank=True, max_length=150)


class RevisionInput(serializers.Serializer):
    revision = serializers.CharField(required=False, default="main", max_length=100)


class DatasetRowsInput(RevisionInput):
    offset = serializers.IntegerField(required=False, default=0, min_value=0, max_value=2**48)
    limit = serializers.IntegerField(required=False, default=20, min_value=1, max_value=200)
    search = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)


class RepoUpdateInput(serializers.Serializer):
    visibility = serializers.ChoiceField(choices=Visibility.values, required=False)
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
