"""The shapes of flavors and nodes at the API."""

from rest_framework import serializers

from workers.orders import ShareProgress

_MOST = 2**62
SHARE_STATES = [state.value for state in ShareProgress]


class FlavorOutput(serializers.Serializer):
    name = serializers.CharField()
    title = serializers.CharField()
    cores = serializers.IntegerField()
    memory_bytes = serializers.IntegerField()
    num_devices = serializers.IntegerField()
    device_percent = serializers.IntegerField(help_text="Of each device; below 100 it is shared.")
    device_name = serializers.CharField(allow_null=True)
    price_mpoints_per_hour = serializers.IntegerField()
    is_available = serializers.BooleanField(help_text="Some node that is online can hold it.")
    why_not = serializers.ChoiceField(
        choices=["no_node_online", "no_device", "no_node_fits"], allow_null=True
    )


class NodeDevice(serializers.Serializer):
    index = serializers.IntegerField(min_value=0, max_value=1023)
    name = serializers.CharField(max_length=200)
    memory_bytes = serializers.IntegerField(min_value=0, max_value=_MOST)
    uuid = serializers.CharField(max_length=100, allow_blank=True, required=False, default="")


class NodeShareState(serializers.Serializer):
    kind = serializers.ChoiceField(choices=["model", "dataset"])
    repo = serializers.CharField(help_text="namespace/name")
    revision = serializers.CharField()
    state = serializers.ChoiceField(choices=SHARE_STATES)
    bytes_done = serializers.IntegerField()
    bytes_total = serializers.IntegerField()
    message = serializers.CharField(allow_blank=True)


class NodeOutput(serializers.Serializer):
    name = serializers.CharField()
    is_online = serializers.BooleanField()
    last_seen_at = serializers.DateTimeField(allow_null=True)
    cores = serializers.IntegerField()
    memory_bytes = serializers.IntegerField()
    disk_free_bytes = serializers.IntegerField()
    devices = NodeDevice(many=True)
    version = serializers.CharField(allow_blank=True)
    num_running = serializers.IntegerField()
    cache_bytes = serializers.IntegerField(help_text="What its cache of models and datasets holds.")
    cache_limit_bytes = serializers.IntegerField(help_text="0 until it has said so.")
    is_cordoned = serializers.BooleanField(help_text="Nothing new is placed on it.")
    share = NodeShareState(many=True, help_text="How far each repo of its /share is.")


class HeartbeatInput(serializers.Serializer):
    version = serializers.CharField(max_length=40, allow_blank=True)
    cores = serializers.IntegerField(min_value=0, max_value=100_000)
    memory_bytes = serializers.IntegerField(min_value=0, max_value=_MOST)
    disk_free_bytes = serializers.IntegerField(min_value=0, max_value=_MOST)
    devices = NodeDevice(many=True)
    runs = serializers.ListField(child=serializers.UUIDField(), max_length=10_000)
