"""The shapes of deployments, their settings, rollouts, API keys and uses at the API."""

from rest_framework import serializers

from studio.core.sentences import ToldOutput
from studio.serving.keys import MOST_DAYS
from studio.serving.metering import UPOINTS
from studio.serving.models import ApiKey, DeploymentStatus


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
    is_retiring = serializers.BooleanField(help_text="Another revision answers for its model now.")
    is_outdated = serializers.BooleanField(
        help_text="Its model's settings were changed: they apply at its next start."
    )


class DeploymentPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = DeploymentOutput(many=True)


class DeploymentHealthOutput(serializers.Serializer):
    status = serializers.CharField(help_text="ok, failed, or unreachable")
    facts = serializers.DictField(
        child=serializers.JSONField(),
        help_text="What the server counts, by name; empty but for operators.",
    )


class ServingSettingsInput(serializers.Serializer):
    flavor = serializers.CharField(
        max_length=40,
        allow_null=True,
        allow_blank=True,
        default=None,
        help_text="Name of a flavor; none is the one that all servers have.",
    )
    spec = serializers.DictField(
        default=dict, help_text="Fields of a serve spec; those left out go back to their defaults."
    )


class ServingSettingsLineOutput(serializers.Serializer):
    model = serializers.CharField(help_text="namespace/name of the base model")
    flavor = serializers.CharField(
        allow_null=True, help_text="None is the one that all servers have; only told to operators."
    )
    spec = serializers.DictField(help_text="Fields of a serve spec, of those the caller may set.")
    changed_by = serializers.CharField(allow_null=True)
    changed_at = serializers.DateTimeField(allow_null=True)


class ServingSettingsPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = ServingSettingsLineOutput(many=True)


class ServingFlavorOutput(serializers.Serializer):
    name = serializers.CharField()
    title = serializers.CharField()
    cores = serializers.IntegerField()
    memory_bytes = serializers.IntegerField()
    num_devices = serializers.IntegerField()
    price_mpoints_per_hour = serializers.IntegerField()
    is_usual = serializers.BooleanField(help_text="It is the one that all servers have.")
    is_available = serializers.BooleanField(help_text="Some node that is online can hold it.")


class ServingSettingsOutput(ServingSettingsLineOutput):
    schema = serializers.DictField(help_text="JSON Schema of the fields that the caller may set.")
    flavors = ServingFlavorOutput(many=True, help_text="Those to choose from; an operator's.")
    running = serializers.ListField(
        child=serializers.UUIDField(),
        help_text="Its deployments that are up or coming up: they keep what they began with.",
    )


class RolloutOutput(serializers.Serializer):
    id = serializers.IntegerField()
    model = serializers.CharField()
    served = serializers.CharField(help_text="Commit that answers.")
    candidate = serializers.CharField(allow_blank=True, help_text="Commit that is tried.")
    previous = serializers.CharField(allow_blank=True, help_text="Commit to go back to.")
    refused = serializers.CharField(allow_blank=True, help_text="Commit that did not pass.")
    is_held = serializers.BooleanField(help_text="Kept by an operator, whatever is pushed.")
    message = serializers.CharField(allow_blank=True)
    told = ToldOutput(allow_null=True, help_text="The message, for pages in other languages.")
    updated_at = serializers.DateTimeField()


class RolloutPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = RolloutOutput(many=True)


class ApiKeyCreateInput(serializers.Serializer):
    name = serializers.CharField(max_length=80)
    models = serializers.ListField(
        child=serializers.CharField(max_length=200),
        default=list,
        max_length=100,
        help_text="namespace/name of each model that it may ask; none is any.",
    )
    budget_mpoints = serializers.IntegerField(
        min_value=1, max_value=10**15, allow_null=True, default=None
    )
    expires_in_days = serializers.IntegerField(
        min_value=1, max_value=MOST_DAYS, allow_null=True, default=None
    )


class ApiKeyOutput(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="Its first letters, to know it by.")
    models = serializers.ListField(child=serializers.CharField(), source="allowed_models")
    budget_mpoints = serializers.IntegerField(allow_null=True)
    spent_mpoints = serializers.SerializerMethodField(help_text="Rounded down.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)

    def get_spent_mpoints(self, key: ApiKey) -> int:
        return key.spent_upoints // UPOINTS


class ApiKeyCreatedOutput(ApiKeyOutput):
    key = serializers.CharField(help_text="The key itself; it is shown only here.")


class ApiKeyPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = ApiKeyOutput(many=True)


class DayUseOutput(serializers.Serializer):
    day = serializers.DateField(help_text="UTC")
    model = serializers.CharField()
    num_requests = serializers.IntegerField()
    num_prompt_tokens = serializers.IntegerField()
    num_cached_tokens = serializers.IntegerField(help_text="Of the prompts', those that lay ready.")
    num_tokens = serializers.IntegerField()
    cost_upoints = serializers.IntegerField(help_text="Thousandths of milli-points.")
