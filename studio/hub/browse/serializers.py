"""The shapes of folders, history and tensors at the API."""

from rest_framework import serializers

from studio.hub.serializers import RevisionInput

_CHANGES = ["added", "changed", "deleted"]
_NOTES = ["binary", "large", "same", "cut"]


def _path(**more: object) -> serializers.CharField:
    return serializers.CharField(
        max_length=1024,
        trim_whitespace=False,
        **more,  # type: ignore[arg-type]
    )


class FolderInput(RevisionInput):
    folder = _path(required=False, default="", allow_blank=True)


class TensorsInput(RevisionInput):
    path = _path()
    search = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)


class DiffInput(serializers.Serializer):
    path = _path()


class CommitLineOutput(serializers.Serializer):
    revision = serializers.CharField()
    title = serializers.CharField()
    author = serializers.CharField(allow_blank=True, help_text="Blank where they have left.")
    created_at = serializers.DateTimeField()


class FolderEntryOutput(serializers.Serializer):
    name = serializers.CharField()
    path = serializers.CharField()
    is_folder = serializers.BooleanField()
    num_files = serializers.IntegerField()
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField(allow_blank=True, help_text="Blank of a folder.")
    last = CommitLineOutput(allow_null=True, help_text="null where it is too long ago to look up.")


class _PageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()


class FolderPageOutput(_PageOutput):
    results = FolderEntryOutput(many=True)


class HistoryLineOutput(CommitLineOutput):
    names = serializers.ListField(
        child=serializers.CharField(), help_text="Of branches and tags that are at it."
    )


class HistoryPageOutput(_PageOutput):
    results = HistoryLineOutput(many=True)


class FileChangeOutput(serializers.Serializer):
    path = serializers.CharField()
    kind = serializers.ChoiceField(choices=_CHANGES)
    size_before = serializers.IntegerField(allow_null=True)
    size_after = serializers.IntegerField(allow_null=True)


class CommitOutput(_PageOutput, HistoryLineOutput):
    description = serializers.CharField(allow_blank=True)
    parent_revision = serializers.CharField(allow_blank=True, help_text="Blank of a first commit.")
    num_added = serializers.IntegerField()
    num_changed = serializers.IntegerField()
    num_deleted = serializers.IntegerField()
    results = FileChangeOutput(many=True)


class FileDiffOutput(serializers.Serializer):
    path = serializers.CharField()
    diff = serializers.CharField(allow_blank=True, help_text="As `diff -u` writes its hunks.")
    note = serializers.ChoiceField(choices=_NOTES, allow_blank=True)


class TensorOutput(serializers.Serializer):
    name = serializers.CharField()
    dtype = serializers.CharField(allow_blank=True)
    shape = serializers.ListField(child=serializers.IntegerField())
    num_params = serializers.IntegerField()


class TensorPageOutput(_PageOutput):
    format = serializers.CharField()
    num_tensors = serializers.IntegerField(help_text="Of the whole file, whatever is sought.")
    num_params = serializers.IntegerField()
    dtypes = serializers.DictField(child=serializers.IntegerField())
    metadata = serializers.DictField(child=serializers.CharField())
    results = TensorOutput(many=True)


class LossesOutput(serializers.Serializer):
    num_files = serializers.IntegerField()
    size_bytes = serializers.IntegerField()
    num_revisions = serializers.IntegerField()
    num_refs = serializers.IntegerField()
    likes = serializers.IntegerField()
    num_users = serializers.IntegerField(help_text="Models built on it.")
    users = serializers.ListField(child=serializers.CharField(), help_text="The first of them.")
