"""The shapes of flavors and nodes at the API."""

from rest_framework import serializers

from studio.compute.joining import LASTS_S
from studio.compute.upkeep import USUAL_GRACE_S
from studio.core.sentences import ToldOutput
from workers.orders import ShareProgress

_MOST = 2**62
RUNTIMES = ["process", "docker"]
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


class NodeDeviceOutput(NodeDevice):
    is_mock = serializers.BooleanField(help_text="It is not there: for trying out placement.")


class NodeEngineOutput(serializers.Serializer):
    version = serializers.CharField(allow_blank=True, help_text="Blank where none answers.")
    problem = serializers.CharField(allow_blank=True)
    problem_told = ToldOutput(allow_null=True)
    relay = serializers.CharField(allow_null=True, help_text="host:port.")
    unlimited = serializers.ListField(
        child=serializers.CharField(),
        help_text="What of its disk it cannot limit for each machine: `layer`, `scratch`.",
    )
    reported_at = serializers.DateTimeField()
    is_fresh = serializers.BooleanField()


class NodeHoldingOutput(serializers.Serializer):
    kind = serializers.ChoiceField(["run", "server", "machine"])
    id = serializers.CharField(help_text="A job's id or a machine's key.")
    name = serializers.CharField()
    owner = serializers.CharField()
    status = serializers.CharField()
    is_going = serializers.BooleanField(help_text="It takes room; else only its files are there.")
    flavor = serializers.CharField()
    cores = serializers.IntegerField()
    memory_bytes = serializers.IntegerField()
    device_percent = serializers.IntegerField()
    device_indexes = serializers.ListField(child=serializers.IntegerField())
    is_exclusive = serializers.BooleanField(help_text="Its cores and devices are its own.")


class NodeDrainOutput(serializers.Serializer):
    at = serializers.DateTimeField(help_text="When machines are told to stop.")
    reason = serializers.CharField(allow_blank=True)
    stops_runs = serializers.BooleanField()
    is_done = serializers.BooleanField(help_text="Nothing goes there any more.")


class NodeOutput(serializers.Serializer):
    name = serializers.CharField()
    is_online = serializers.BooleanField()
    last_seen_at = serializers.DateTimeField(allow_null=True)
    cores = serializers.IntegerField()
    memory_bytes = serializers.IntegerField()
    disk_free_bytes = serializers.IntegerField()
    disk_bytes = serializers.IntegerField(help_text="0 until it has said so.")
    devices = NodeDeviceOutput(many=True)
    version = serializers.CharField(allow_blank=True)
    runtime = serializers.ChoiceField(
        choices=RUNTIMES, help_text="How it runs finetunes: `docker` is in a container."
    )
    runtime_problem = serializers.CharField(
        allow_blank=True, help_text="Why it cannot run any now; blank where it can."
    )
    runtime_problem_told = ToldOutput(allow_null=True)
    runtime_notice = serializers.CharField(
        allow_blank=True, help_text="What is not as it should be with that though it can."
    )
    runtime_notice_told = ToldOutput(allow_null=True)
    num_running = serializers.IntegerField()
    cache_bytes = serializers.IntegerField(help_text="What its cache of models and datasets holds.")
    cache_limit_bytes = serializers.IntegerField(help_text="0 until it has said so.")
    is_cordoned = serializers.BooleanField(help_text="Nothing new is placed on it.")
    share = NodeShareState(many=True, help_text="How far each repo of its /share is.")
    is_lost = serializers.BooleanField(help_text="Silent for so long that it may be removed.")
    drain = NodeDrainOutput(allow_null=True)
    engine = NodeEngineOutput(allow_null=True, help_text="Null until it has told of one.")
    holdings = NodeHoldingOutput(many=True)


class NodeDrainInput(serializers.Serializer):
    reason = serializers.CharField(
        max_length=2000, allow_blank=True, default="", help_text="For those whose machines stop."
    )
    grace_s = serializers.IntegerField(min_value=0, max_value=_MOST, default=USUAL_GRACE_S)
    stops_runs = serializers.BooleanField(default=False)


class JoinTokenInput(serializers.Serializer):
    name = serializers.CharField(
        max_length=200, allow_blank=True, default="", help_text="The only name it is for."
    )
    lasts_s = serializers.IntegerField(min_value=0, max_value=_MOST, default=LASTS_S)


class JoinTokenOutput(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField(allow_blank=True)
    made_by = serializers.CharField(allow_null=True)
    made_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class NewJoinTokenOutput(JoinTokenOutput):
    token = serializers.CharField(help_text="Shown this once.")
    command = serializers.CharField(help_text="To be typed on the machine that joins.")


class NodeJoinInput(serializers.Serializer):
    token = serializers.CharField(max_length=200)
    name = serializers.CharField(max_length=200, allow_blank=True, default="")
    default_name = serializers.CharField(max_length=200, allow_blank=True, default="")
    is_trial = serializers.BooleanField(default=False)


class NodeWelcomeOutput(serializers.Serializer):
    name = serializers.CharField()
    node_token = serializers.CharField(allow_blank=True)
    broker_url = serializers.CharField()


class HeartbeatInput(serializers.Serializer):
    version = serializers.CharField(max_length=40, allow_blank=True)
    cores = serializers.IntegerField(min_value=0, max_value=100_000)
    memory_bytes = serializers.IntegerField(min_value=0, max_value=_MOST)
    disk_free_bytes = serializers.IntegerField(min_value=0, max_value=_MOST)
    disk_bytes = serializers.IntegerField(min_value=0, max_value=_MOST, default=0)
    runtime = serializers.ChoiceField(choices=RUNTIMES, default="process")
    runtime_problem = serializers.CharField(max_length=500, allow_blank=True, default="")
    runtime_notice = serializers.CharField(max_length=500, allow_blank=True, default="")
    devices = NodeDevice(many=True)
    runs = serializers.ListField(child=serializers.UUIDField(), max_length=10_000)
