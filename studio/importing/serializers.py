"""The shapes of imports at the API."""

from rest_framework import serializers

from studio.hub.models import Kind, Visibility
from studio.importing.models import Import, ImportState
from studio.importing.sources import MOST_SOURCE

_MOST_TOKEN = 1000


class ImportInput(serializers.Serializer):
    source = serializers.CharField(  # type: ignore[assignment]  # the field of that name
        max_length=MOST_SOURCE,
        help_text="hf://owner/name@revision, modelscope://owner/name, drive:///folder, or a URL of "
        "a .gguf file.",
    )
    kind = serializers.ChoiceField(choices=Kind.values)
    namespace = serializers.CharField(max_length=64)
    name = serializers.CharField(max_length=200)
    visibility = serializers.ChoiceField(
        choices=Visibility.values, required=False, default=Visibility.PRIVATE
    )
    token = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=_MOST_TOKEN,
        write_only=True,
        help_text="For the source; forgotten when the import ends.",
    )


class ImportRetryInput(serializers.Serializer):
    token = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=_MOST_TOKEN, write_only=True
    )


class ImportProblemOutput(serializers.Serializer):
    code = serializers.CharField()
    message = serializers.CharField()
    params = serializers.DictField()


class ImportOutput(serializers.ModelSerializer):
    state = serializers.ChoiceField(choices=ImportState.values)
    kind = serializers.ChoiceField(choices=Kind.values)
    visibility = serializers.ChoiceField(choices=Visibility.values)
    problem = ImportProblemOutput(allow_null=True)

    class Meta:
        model = Import
        fields = (
            "id",
            "source",
            "kind",
            "namespace",
            "name",
            "visibility",
            "revision",
            "state",
            "bytes_done",
            "bytes_total",
            "files_done",
            "files_total",
            "current_file",
            "is_cancel_wished",
            "problem",
            "commit_sha",
            "created_at",
            "ended_at",
        )
        read_only_fields = fields


class ImportPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = ImportOutput(many=True)
