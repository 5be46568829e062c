"""The door at which a node says how its machines are, and hears what they shall be."""

import time
from functools import lru_cache

from drf_spectacular.utils import extend_schema
from pydantic import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.compute.authentication import IsNode, NodeTokenAuthentication, get_node
from studio.core.errors import BadInput
from studio.core.inputs import read_body
from studio.machines.disks import Sizes, find_usual_sizes, get_disk_limits
from studio.machines.orders import find_usual_image, list_orders
from studio.machines.reports import take_report
from studio.machines.saving import list_kept_keys
from studio.machines.usage import keep_usage
from workers.machines.orders import MachineAnswer, MachineReport

_USUAL_FOR_S = 30


class NodeMachinesApi(APIView):
    """A node says what it has, and is told what it shall have."""

    authentication_classes = [NodeTokenAuthentication]
    permission_classes = [IsNode]

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        """Take the report and answer the orders."""
        try:
            report = MachineReport.model_validate_json(read_body(request._request))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise BadInput(f"{where or 'body'}: {problem['msg']}.", field=where or None) from error
        node = get_node(request)
        take_report(node=node, report=report)
        keep_usage(node=node, report=report)
        image, sizes = _find_usual(int(time.monotonic() // _USUAL_FOR_S))
        answer = MachineAnswer(
            orders=tuple(list_orders(node)),
            saved=tuple(list_kept_keys(node)),
            usual_image=image,
            **get_disk_limits(sizes),
        )
        return Response(answer.model_dump(mode="json"))


@lru_cache(maxsize=1)
def _find_usual(_at: int) -> tuple[str, Sizes]:
    """Look seldom: every node asks each second, and the answer hardly ever changes."""
    return find_usual_image(), find_usual_sizes()
