"""The shapes of dev machines at the API."""

from rest_framework import serializers

from studio.compute.serializers import FlavorOutput
from studio.core.sentences import ToldOutput
from studio.machines.idle import Sign, State
from studio.machines.models import Audience, Reason, Status
from studio.machines.wishes import USUAL_S

# Longer than anything that will be taken: the service's own sentence tells the bounds.
_MOST_ASKED_S = 2**31
_NAME_MOST = 200


class MachineInput(serializers.Serializer):
    name = serializers.CharField(max_length=_NAME_MOST, trim_whitespace=False)
    image = serializers.CharField(max_length=_NAME_MOST)
    flavor = serializers.CharField(max_length=_NAME_MOST)
    duration_s = serializers.IntegerField(min_value=0, max_value=_MOST_ASKED_S, default=USUAL_S)


class MachineRenameInput(serializers.Serializer):
    name = serializers.CharField(max_length=_NAME_MOST, trim_whitespace=False)


class MachineStartInput(serializers.Serializer):
    duration_s = serializers.IntegerField(min_value=0, max_value=_MOST_ASKED_S, default=USUAL_S)


class MachineExtendInput(serializers.Serializer):
    duration_s = serializers.IntegerField(min_value=0, max_value=_MOST_ASKED_S)


class MachineChangeInput(serializers.Serializer):
    flavor = serializers.CharField(max_length=_NAME_MOST, required=False)
    image = serializers.CharField(max_length=_NAME_MOST, required=False)


class MachineSaveInput(serializers.Serializer):
    name = serializers.CharField(max_length=_NAME_MOST, trim_whitespace=False)


class MachineCloneInput(serializers.Serializer):
    name = serializers.CharField(max_length=_NAME_MOST, trim_whitespace=False)
    duration_s = serializers.IntegerField(min_value=0, max_value=_MOST_ASKED_S, default=USUAL_S)


class MachineEnterInput(serializers.Serializer):
    port = serializers.IntegerField(min_value=1, max_value=65535)
    path = serializers.CharField(max_length=2000, default="/", trim_whitespace=False)


class MachinePortInput(serializers.Serializer):
    audience = serializers.ChoiceField(Audience.values)
    until = serializers.DateTimeField(allow_null=True, default=None)


class MachinePortOutput(serializers.Serializer):
    port = serializers.IntegerField()
    audience = serializers.ChoiceField(Audience.values)
    until = serializers.DateTimeField(allow_null=True)
    url = serializers.CharField()


class MachineEntryOutput(serializers.Serializer):
    url = serializers.CharField(help_text="Signs this browser in there; once, within 30 seconds.")


class MachineToolOutput(serializers.Serializer):
    name = serializers.CharField()
    port = serializers.IntegerField()
    url = serializers.CharField()


class MachineImageOutput(serializers.Serializer):
    name = serializers.CharField()
    title = serializers.CharField()


class MachineDisksOutput(serializers.Serializer):
    disk_bytes = serializers.IntegerField(
        allow_null=True,
        help_text="What it may write beside its home and /scratch; null is no limit.",
    )
    scratch_bytes = serializers.IntegerField(
        allow_null=True, help_text="The size of /scratch; null is no limit."
    )


class MachineFlavorOutput(MachineDisksOutput):
    name = serializers.CharField()
    title = serializers.CharField()
    cores = serializers.IntegerField()
    memory_bytes = serializers.IntegerField()
    num_devices = serializers.IntegerField()
    device_percent = serializers.IntegerField()
    price_mpoints_per_hour = serializers.IntegerField()


class MachineLeaseOutput(serializers.Serializer):
    started_at = serializers.DateTimeField(allow_null=True)
    ends_at = serializers.DateTimeField(allow_null=True)
    granted_s = serializers.IntegerField()
    used_s = serializers.FloatField(help_text="Time that its node has shown proof of.")
    rate_mpoints_per_hour = serializers.IntegerField()
    cost_mpoints = serializers.IntegerField()
    held_mpoints = serializers.IntegerField()
    is_open = serializers.BooleanField()


class MachineDrainOutput(serializers.Serializer):
    at = serializers.DateTimeField(help_text="When the machine is told to stop.")
    reason = serializers.CharField(allow_blank=True)


class MachineIdleOutput(serializers.Serializer):
    state = serializers.ChoiceField([state.value for state in State], help_text="Off: no rule.")
    sign = serializers.ChoiceField(
        [sign.value for sign in Sign], help_text="What shows that it is used, or was last."
    )
    active_at = serializers.DateTimeField(help_text="When it was last used.")
    stops_at = serializers.DateTimeField(allow_null=True, help_text="Unless it is used.")
    kept_until = serializers.DateTimeField(allow_null=True)
    idle_s = serializers.IntegerField(help_text="After so much idleness it stops; 0 is never.")


class MachineDoorOutput(serializers.Serializer):
    name = serializers.CharField()
    port = serializers.IntegerField()
    ready_at = serializers.DateTimeField(
        allow_null=True, help_text="When its port first answered in this start."
    )


class MachineProgressOutput(serializers.Serializer):
    asked_at = serializers.DateTimeField()
    placed_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    doors = MachineDoorOutput(many=True)
    is_usable = serializers.BooleanField(help_text="It runs, and its first tool answers.")


class MachineSavingOutput(serializers.Serializer):
    image = serializers.CharField()
    is_copy = serializers.BooleanField(help_text="For a clone: it goes with it.")
    begun_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    problem = serializers.CharField(allow_blank=True)
    problem_told = ToldOutput(allow_null=True)


class MachineTabOutput(serializers.Serializer):
    name = serializers.CharField(help_text="Of a tool, `terminal`, or a port's number.")
    port = serializers.IntegerField(allow_null=True)


class SavedImageOutput(serializers.Serializer):
    name = serializers.CharField()
    status = serializers.ChoiceField(["saving", "ready"])
    size_bytes = serializers.IntegerField(allow_null=True)
    node = serializers.CharField(allow_null=True)
    machine = serializers.CharField(help_text="The one that it was saved from.")
    created_at = serializers.DateTimeField()


class MachineOutput(serializers.Serializer):
    key = serializers.CharField()
    name = serializers.CharField()
    owner = serializers.CharField()
    status = serializers.ChoiceField(Status.values)
    reason = serializers.ChoiceField([value for value in Reason.values if value], allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    told = ToldOutput(allow_null=True, help_text="The message, for pages in other languages.")
    status_since = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    image = MachineImageOutput()
    flavor = MachineFlavorOutput()
    node = serializers.CharField(allow_null=True)
    drain = MachineDrainOutput(allow_null=True, help_text="Its node is being emptied.")
    tools = MachineToolOutput(many=True)
    ssh_command = serializers.CharField()
    lease = MachineLeaseOutput(allow_null=True)
    idle = MachineIdleOutput(
        allow_null=True, help_text="Of a running machine, and of one that the idle rule stopped."
    )
    queue_position = serializers.IntegerField(allow_null=True, help_text="From 1.")
    wait_s = serializers.IntegerField(
        allow_null=True, help_text="How long it should wait at most; null where nobody can say."
    )
    progress = MachineProgressOutput()
    saving = MachineSavingOutput(allow_null=True, help_text="The last, or the one that goes on.")
    last_tabs = MachineTabOutput(many=True)


class MachineImageChoiceOutput(MachineImageOutput):
    tools = serializers.DictField(child=serializers.IntegerField())
    flavors = serializers.ListField(
        child=serializers.CharField(), help_text="On which it may run; none is all."
    )
    is_mine = serializers.BooleanField(help_text="Saved by the viewer, for the viewer alone.")


class ImageNodeOutput(serializers.Serializer):
    name = serializers.CharField()
    has_it = serializers.BooleanField(allow_null=True, help_text="Null: it has not said.")


class RegisteredImageOutput(MachineImageOutput):
    tools = serializers.DictField(child=serializers.IntegerField())
    flavors = serializers.ListField(
        child=serializers.CharField(), help_text="On which it may run; none is all."
    )
    idle_s = serializers.IntegerField(allow_null=True, help_text="Null: what the studio has set.")
    reference = serializers.CharField(help_text="A digest or an id: what no tag can change.")
    is_active = serializers.BooleanField(help_text="New machines may have it.")
    created_at = serializers.DateTimeField()
    num_machines = serializers.IntegerField()
    nodes = ImageNodeOutput(many=True)


class ImageInput(serializers.Serializer):
    idle_s = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=7 * 24 * 3600,
        help_text="After how much idleness its machines stop; left out, it stays as it is.",
    )
    name = serializers.CharField(max_length=_NAME_MOST)
    reference = serializers.CharField(max_length=1000)
    title = serializers.CharField(max_length=1000, allow_blank=True, default="")
    tools = serializers.DictField(
        child=serializers.IntegerField(), default=dict, help_text="Name of a tool to its port."
    )
    flavors = serializers.ListField(
        child=serializers.CharField(max_length=_NAME_MOST), default=list, help_text="None is all."
    )


class MachineEngineOutput(serializers.Serializer):
    is_available = serializers.BooleanField()
    problem = serializers.CharField(allow_blank=True)
    problem_told = ToldOutput(allow_null=True)


class MachineSshOutput(serializers.Serializer):
    host = serializers.CharField()
    port = serializers.IntegerField()
    fingerprint = serializers.CharField()
    host_key = serializers.CharField(help_text="A line for known_hosts.")


class MachineFlavorChoiceOutput(FlavorOutput, MachineDisksOutput):
    pass


class MachineOptionsOutput(serializers.Serializer):
    images = MachineImageChoiceOutput(many=True)
    flavors = MachineFlavorChoiceOutput(many=True)
    engine = MachineEngineOutput()
    min_duration_s = serializers.IntegerField()
    max_duration_s = serializers.IntegerField()
    default_duration_s = serializers.IntegerField()
    domain = serializers.CharField()
    ssh = MachineSshOutput()
