"""The shapes of /share at the API."""

from rest_framework import serializers

from studio.hub.models import Kind


class SharedRepoOutput(serializers.Serializer):
    kind = serializers.ChoiceField(choices=Kind.values)
    repo = serializers.CharField(help_text="namespace/name")
    path = serializers.CharField(help_text="Where machines and jobs find it.")
    revision = serializers.CharField(help_text="The branch, tag or commit that is followed.")
    sha = serializers.CharField(allow_blank=True, help_text="Blank where there is none any more.")
    size_bytes = serializers.IntegerField()
    chosen_by = serializers.CharField(allow_blank=True)
    chosen_at = serializers.DateTimeField()


class SharedRepoInput(serializers.Serializer):
    kind = serializers.ChoiceField(choices=Kind.values)
    repo = serializers.CharField(max_length=200, help_text="namespace/name")
    revision = serializers.CharField(max_length=100, default="main")
