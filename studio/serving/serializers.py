"""The shape of a deployment at the API."""

from rest_framework import serializers

from studio.core.sentences import ToldOutput
from studio.serving.models import DeploymentStatus


class DeploymentOutput(serializers.Serializer):
    id = serializers.UUIDField()
    model = serializers.CharField(help_text="namespace/name of the base model")
    revision = serializers.CharField()
    status = serializers.ChoiceField(choices=DeploymentStatus.values)
    message = serializers.CharField(allow_blank=True)
    told = ToldOutput(allow_null=True, help_text="The message, for pages in other languages.")
    node = serializers.CharField(allow_null=True)
    adapters = serializers.ListField(child=serializers.CharField())
    started_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    job_id = serializers.UUIDField(allow_null=True)


class DeploymentPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = DeploymentOutput(many=True)
