"""Flavors at the API, and the door of the nodes' heartbeats."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.compute.authentication import IsNode, NodeTokenAuthentication, get_node
from studio.compute.selectors import describe_flavors
from studio.compute.serializers import FlavorOutput, HeartbeatInput
from studio.compute.services import Inventory, record_heartbeat
from workers.orders import queue_name


class FlavorListApi(APIView):
    @extend_schema(responses=FlavorOutput(many=True))
    def get(self, request: Request) -> Response:
        return Response(FlavorOutput(describe_flavors(), many=True).data)


class HeartbeatApi(APIView):
    authentication_classes = [NodeTokenAuthentication]
    permission_classes = [IsNode]

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        node = get_node(request)
        given = HeartbeatInput(data=request.data)
        given.is_valid(raise_exception=True)
        said = dict(given.validated_data)
        said["run_ids"] = [str(run_id) for run_id in said.pop("runs")]
        record_heartbeat(node=node, inventory=Inventory(**said))
        return Response({"name": node.name, "broker_queue": queue_name(node.name)})
