"""The shapes of conversations and turns at the API."""

from rest_framework import serializers

from studio.playground.models import MessageState


class PlaygroundModelOutput(serializers.Serializer):
    id = serializers.CharField(help_text="namespace/name")
    base = serializers.CharField(allow_null=True)
    is_adapter = serializers.BooleanField()
    title = serializers.CharField()
    deployment_status = serializers.ChoiceField(choices=["none", "starting", "ready"])


class ChatSettingsInput(serializers.Serializer):
    models = serializers.ListField(
        child=serializers.CharField(max_length=300), max_length=4, required=False, default=list
    )
    system = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=20_000, trim_whitespace=False
    )
    temperature = serializers.FloatField(required=False, default=0.7, min_value=0, max_value=2)
    top_p = serializers.FloatField(required=False, default=0.9, min_value=0.01, max_value=1)
    max_tokens = serializers.IntegerField(
        required=False, default=512, min_value=1, max_value=32_768
    )
    seed = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=0, max_value=2**53
    )


class ChatSettingsOutput(serializers.Serializer):
    models = serializers.ListField(child=serializers.CharField())
    system = serializers.CharField(allow_blank=True)
    temperature = serializers.FloatField()
    top_p = serializers.FloatField()
    max_tokens = serializers.IntegerField()
    seed = serializers.IntegerField(allow_null=True)


class ConversationHeadOutput(serializers.Serializer):
    id = serializers.UUIDField()
    title = serializers.CharField(allow_blank=True)
    settings = ChatSettingsOutput()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class ChatMessageOutput(serializers.Serializer):
    id = serializers.UUIDField()
    turn = serializers.IntegerField(help_text="From 1.")
    side = serializers.IntegerField(help_text="Which answer beside the others, from 0.")
    role = serializers.ChoiceField(choices=["user", "assistant"])
    model = serializers.CharField(allow_null=True)
    content = serializers.CharField(allow_blank=True)
    state = serializers.ChoiceField(choices=MessageState.values)
    error = serializers.CharField(allow_null=True)
    num_prompt_tokens = serializers.IntegerField(allow_null=True)
    num_tokens = serializers.IntegerField(allow_null=True)
    tokens_per_s = serializers.FloatField(allow_null=True)
    first_token_ms = serializers.FloatField(allow_null=True)
    created_at = serializers.DateTimeField()


class ConversationOutput(ConversationHeadOutput):
    messages = ChatMessageOutput(many=True)


class ConversationPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = ConversationHeadOutput(many=True)


class ConversationInput(serializers.Serializer):
    title = serializers.CharField(required=False, allow_blank=True, max_length=120)
    settings = ChatSettingsInput(required=False)


class TurnInput(ChatSettingsInput):
    prompt = serializers.CharField(max_length=100_000, trim_whitespace=False)
    models = serializers.ListField(
        child=serializers.CharField(max_length=300), min_length=1, max_length=4
    )
