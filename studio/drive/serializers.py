"""The drive's shapes at the API."""

from rest_framework import serializers

from studio.core.sentences import SentenceOutput
from studio.drive.models import Share, TrashEntry, Work, WorkKind, WorkState
from studio.drive.selectors import SORTS

_MOST_PATHS = 1000
_MOST_DAYS = 365


class DrivePathInput(serializers.Serializer):
    path = serializers.CharField(allow_blank=True, default="", trim_whitespace=False)


class DriveListInput(DrivePathInput):
    sort = serializers.ChoiceField(SORTS, default="name")
    page = serializers.IntegerField(min_value=1, max_value=1_000_000, default=1)
    page_size = serializers.IntegerField(min_value=1, max_value=500, default=100)


class DriveSearchInput(DrivePathInput):
    q = serializers.CharField(max_length=200)


class DriveNewFolderInput(serializers.Serializer):
    path = serializers.CharField(trim_whitespace=False)


class DriveRenameInput(serializers.Serializer):
    path = serializers.CharField(trim_whitespace=False)
    name = serializers.CharField(trim_whitespace=False)


class DrivePathsInput(serializers.Serializer):
    paths = serializers.ListField(
        child=serializers.CharField(trim_whitespace=False), min_length=1, max_length=_MOST_PATHS
    )


class DriveMoveInput(DrivePathsInput):
    target = serializers.CharField(allow_blank=True, trim_whitespace=False)


class DriveTextInput(serializers.Serializer):
    path = serializers.CharField(trim_whitespace=False)
    text = serializers.CharField(allow_blank=True, trim_whitespace=False)


class DriveShareInput(serializers.Serializer):
    path = serializers.CharField(trim_whitespace=False)
    days = serializers.IntegerField(min_value=1, max_value=_MOST_DAYS, default=7)


class DriveWorkInput(serializers.Serializer):
    kind = serializers.ChoiceField(WorkKind.values)
    paths = serializers.ListField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False),
        min_length=1,
        max_length=_MOST_PATHS,
    )
    target = serializers.CharField(allow_blank=True, default="", trim_whitespace=False)
    name = serializers.CharField(allow_blank=True, default="", trim_whitespace=False)


class DriveQuotaInput(serializers.Serializer):
    quota_bytes = serializers.IntegerField(min_value=0, max_value=2**60, allow_null=True)


class DriveEntryOutput(serializers.Serializer):
    name = serializers.CharField()
    path = serializers.CharField()
    kind = serializers.ChoiceField(["folder", "file", "link", "special"])
    size_bytes = serializers.IntegerField()
    modified_at = serializers.DateTimeField()
    is_clashing = serializers.BooleanField(
        help_text="Another name here differs by case or composition alone."
    )


class DriveListOutput(serializers.Serializer):
    path = serializers.CharField()
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = DriveEntryOutput(many=True)


class DriveFolderOutput(serializers.Serializer):
    name = serializers.CharField()
    path = serializers.CharField()


class DriveTreeOutput(serializers.Serializer):
    folders = DriveFolderOutput(many=True)
    is_complete = serializers.BooleanField()


class DriveFoundOutput(serializers.Serializer):
    results = DriveEntryOutput(many=True)
    is_complete = serializers.BooleanField(help_text="False where the search ended at its bound.")


class DrivePathOutput(serializers.Serializer):
    path = serializers.CharField()


class DrivePathsOutput(serializers.Serializer):
    paths = serializers.ListField(child=serializers.CharField())


class DriveWrittenOutput(serializers.Serializer):
    path = serializers.CharField()
    etag = serializers.CharField()


class DriveNotebookOutputOutput(serializers.Serializer):
    text = serializers.CharField()
    image = serializers.CharField(required=False)


class DriveCellOutput(serializers.Serializer):
    is_markdown = serializers.BooleanField()
    text = serializers.CharField()
    outputs = DriveNotebookOutputOutput(many=True)


class DrivePreviewOutput(serializers.Serializer):
    kind = serializers.ChoiceField(["text", "markdown", "notebook", "image", "table", "binary"])
    size_bytes = serializers.IntegerField()
    etag = serializers.CharField()
    text = serializers.CharField()
    is_cut = serializers.BooleanField()
    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.ListField(child=serializers.ListField(child=serializers.CharField()))
    num_rows = serializers.IntegerField(allow_null=True)
    cells = DriveCellOutput(many=True)


class DriveTrashOutput(serializers.ModelSerializer):
    size_bytes = serializers.IntegerField()

    class Meta:
        model = TrashEntry
        fields = ["id", "path", "is_folder", "size_bytes", "trashed_at"]


class DriveTrashPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = DriveTrashOutput(many=True)


class DriveTrashedOutput(serializers.Serializer):
    entries = DriveTrashOutput(many=True)


class DriveDeletedOutput(serializers.Serializer):
    num_deleted = serializers.IntegerField()


class DriveShareOutput(serializers.ModelSerializer):
    num_fetched = serializers.IntegerField()

    class Meta:
        model = Share
        fields = ["id", "path", "created_at", "expires_at", "num_fetched"]


class DriveShareCreatedOutput(DriveShareOutput):
    url = serializers.CharField(help_text="Shown only now.")

    class Meta(DriveShareOutput.Meta):
        fields = [*DriveShareOutput.Meta.fields, "url"]


class DriveSharedOutput(serializers.Serializer):
    name = serializers.CharField()
    is_folder = serializers.BooleanField()
    size_bytes = serializers.IntegerField(allow_null=True)
    owner = serializers.CharField()
    expires_at = serializers.DateTimeField()


class DriveWorkOutput(serializers.ModelSerializer):
    state = serializers.ChoiceField(WorkState.values)
    kind = serializers.ChoiceField(WorkKind.values)
    target = serializers.CharField()
    result_path = serializers.CharField()
    done_bytes = serializers.IntegerField()
    total_bytes = serializers.IntegerField()
    problem = serializers.DictField(help_text="`code`, `message` and `params` where it failed.")
    paths = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Work
        fields = [
            *("id", "kind", "state", "paths", "target", "result_path", "done_bytes"),
            *("total_bytes", "problem", "created_at", "ended_at"),
        ]


class DriveUseOutput(serializers.Serializer):
    used_bytes = serializers.IntegerField()
    quota_bytes = serializers.IntegerField()
    trash_bytes = serializers.IntegerField()


class DriveQuotaOutput(serializers.Serializer):
    username = serializers.CharField()
    quota_bytes = serializers.IntegerField(help_text="The one that counts.")
    own_quota_bytes = serializers.IntegerField(allow_null=True, help_text="null is the default.")
    used_bytes = serializers.IntegerField()


class DriveHealthOutput(serializers.Serializer):
    backend = serializers.ChoiceField(["btrfs", "project", "none"])
    is_enforced = serializers.BooleanField()
    reasons = SentenceOutput(many=True, help_text="Why it keeps none, a sentence for each kind.")
    default_quota_bytes = serializers.IntegerField()
    free_bytes = serializers.IntegerField(help_text="On the disk that holds all drives.")
