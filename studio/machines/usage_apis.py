"""What a machine uses, and keeping it from the idle rule, at the API."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts.viewers import viewer_of
from studio.core.inputs import read_input
from studio.machines import selectors
from studio.machines import serializers as shapes
from studio.machines.apis import answer
from studio.machines.idling import keep_machine
from studio.machines.usage import describe_usage

_MOST_ASKED_S = 2**31


class MachineUsageInput(serializers.Serializer):
    since = serializers.DateTimeField(required=False)


class MachineKeepInput(serializers.Serializer):
    duration_s = serializers.IntegerField(
        min_value=0, max_value=_MOST_ASKED_S, help_text="From now; 0 is no longer."
    )


class MachineDeviceUsageOutput(serializers.Serializer):
    uuid = serializers.CharField()
    is_mock = serializers.BooleanField(help_text="A GPU in name only: nothing is measured.")
    busy_ratio = serializers.FloatField(allow_null=True)
    memory_bytes = serializers.IntegerField(allow_null=True)
    memory_limit_bytes = serializers.IntegerField(allow_null=True)


class MachineLiveOutput(serializers.Serializer):
    taken_at = serializers.DateTimeField()
    cores = serializers.FloatField(allow_null=True)
    cores_limit = serializers.FloatField()
    memory_bytes = serializers.IntegerField(allow_null=True)
    memory_limit_bytes = serializers.IntegerField()
    received_bytes_per_s = serializers.FloatField(allow_null=True)
    sent_bytes_per_s = serializers.FloatField(allow_null=True)
    layer_bytes = serializers.IntegerField(
        allow_null=True, help_text="Written outside of home and scratch."
    )
    scratch_bytes = serializers.IntegerField(allow_null=True)
    disk_free_bytes = serializers.IntegerField(allow_null=True)
    devices = MachineDeviceUsageOutput(many=True)


class _Figures(serializers.ListField):
    child = serializers.FloatField(allow_null=True)


class MachineMinutesOutput(serializers.Serializer):
    """Columns: the n-th figure of each is of the minute that began at the n-th time."""

    at = serializers.ListField(child=serializers.IntegerField(), help_text="Unix seconds.")
    cores = _Figures()
    memory_bytes = _Figures(help_text="The most of the minute.")
    gpu_busy_ratio = _Figures()
    gpu_memory_bytes = _Figures(help_text="The most of the minute.")
    received_bytes_per_s = _Figures()
    sent_bytes_per_s = _Figures()
    layer_bytes = _Figures()
    scratch_bytes = _Figures()


class MachineUsageOutput(serializers.Serializer):
    live = MachineLiveOutput(allow_null=True, help_text="Null where its node does not tell now.")
    cores_limit = serializers.FloatField()
    memory_limit_bytes = serializers.IntegerField()
    device_percent = serializers.IntegerField(
        allow_null=True, help_text="Of each of its GPUs; null where it has none."
    )
    home_used_bytes = serializers.IntegerField()
    home_quota_bytes = serializers.IntegerField()
    minutes = MachineMinutesOutput()


class MachineUsageApi(APIView):
    @extend_schema(
        responses=MachineUsageOutput,
        parameters=[
            OpenApiParameter(
                "since", str, description="Minutes after this time alone; else a day's."
            )
        ],
    )
    def get(self, request: Request, key: str) -> Response:
        found = selectors.find_machine(viewer_of(request), key)
        given = read_input(MachineUsageInput, request.query_params.dict())
        return Response(MachineUsageOutput(describe_usage(found, given.get("since"))).data)


class MachineKeepApi(APIView):
    @extend_schema(request=MachineKeepInput, responses=shapes.MachineOutput)
    def post(self, request: Request, key: str) -> Response:
        viewer = viewer_of(request)
        found = selectors.find_machine(viewer, key)
        given = read_input(MachineKeepInput, request.data)
        return answer(keep_machine(by=viewer, machine=found, **given))
