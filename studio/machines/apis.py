"""Dev machines at the API: parse, call one service or selector, shape the answer."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts.viewers import viewer_of
from studio.core.errors import NotFound
from studio.core.inputs import read_input
from studio.core.sentences import find_told
from studio.machines import saving, selectors, services, wishes
from studio.machines import serializers as shapes
from studio.machines.cloning import clone_machine
from studio.machines.disks import describe_flavors
from studio.machines.models import Audience, Machine
from studio.machines.showing import show_machine, show_machines, show_port, show_saved
from studio.machines.ssh.host_keys import host_fingerprint, read_host_key
from studio.machines.tabs import name_port, note_tab
from studio.machines.web.bases import make_basis
from studio.machines.web.passes import enter_url


def answer(machine: Machine, status: int = 200) -> Response:
    """Return a machine, read anew."""
    found = selectors.list_all_machines().get(pk=machine.pk)
    return Response(shapes.MachineOutput(show_machine(found)).data, status=status)


class MachineListApi(APIView):
    @extend_schema(
        responses=shapes.MachineOutput(many=True),
        parameters=[OpenApiParameter("all", bool, description="Everybody's; operators only.")],
    )
    def get(self, request: Request) -> Response:
        viewer = viewer_of(request)
        if request.query_params.get("all", "").lower() in {"1", "true"}:
            if not viewer.has_role("operator"):
                raise NotFound
            found = selectors.list_all_machines()
        else:
            found = selectors.list_machines(viewer)
        return Response(shapes.MachineOutput(show_machines(list(found)), many=True).data)

    @extend_schema(request=shapes.MachineInput, responses={201: shapes.MachineOutput})
    def post(self, request: Request) -> Response:
        wish = wishes.Wish(**read_input(shapes.MachineInput, request.data))
        return answer(services.create_machine(owner=viewer_of(request), wish=wish), 201)


class MachineOptionsApi(APIView):
    @extend_schema(responses=shapes.MachineOptionsOutput)
    def get(self, request: Request) -> Response:
        problem = selectors.get_why_no_machines()
        host_key = read_host_key().export_public_key().decode().strip()
        port = "" if settings.SSH_PORT == 22 else f":{settings.SSH_PORT}"
        host = f"[{settings.SSH_HOST}]{port}" if port else settings.SSH_HOST
        said = {
            "images": [_show_image(image) for image in wishes.list_images(viewer_of(request))],
            "flavors": describe_flavors(),
            "engine": {
                "is_available": not problem,
                "problem": problem,
                "problem_told": find_told(problem),
            },
            "min_duration_s": wishes.LEAST_S,
            "max_duration_s": wishes.MOST_S,
            "default_duration_s": wishes.USUAL_S,
            "domain": settings.MACHINES_DOMAIN,
            "ssh": {
                "host": settings.SSH_HOST,
                "port": settings.SSH_PORT,
                "fingerprint": host_fingerprint(),
                "host_key": f"{host} {host_key}",
            },
        }
        return Response(shapes.MachineOptionsOutput(said).data)


class MachineApi(APIView):
    @extend_schema(responses=shapes.MachineOutput)
    def get(self, request: Request, key: str) -> Response:
        found = selectors.find_machine(viewer_of(request), key)
        return Response(shapes.MachineOutput(show_machine(found)).data)

    @extend_schema(request=shapes.MachineRenameInput, responses=shapes.MachineOutput)
    def patch(self, request: Request, key: str) -> Response:
        viewer = viewer_of(request)
        found = selectors.find_machine(viewer, key)
        given = read_input(shapes.MachineRenameInput, request.data)
        return answer(services.rename_machine(by=viewer, machine=found, **given))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, key: str) -> Response:
        viewer = viewer_of(request)
        services.delete_machine(by=viewer, machine=selectors.find_machine(viewer, key))
        return Response(status=204)


class _MachineDeed(APIView):
    """A view that does one thing to a machine."""

    shape: type | None = None
    service: Any = None

    def post(self, request: Request, key: str) -> Response:
        viewer = viewer_of(request)
        found = selectors.find_machine(viewer, key)
        given = read_input(self.shape, request.data) if self.shape else {}
        return answer(type(self).service(by=viewer, machine=found, **given))


class MachineStartApi(_MachineDeed):
    shape, service = shapes.MachineStartInput, services.start_machine

    @extend_schema(request=shapes.MachineStartInput, responses=shapes.MachineOutput)
    def post(self, request: Request, key: str) -> Response:
        return super().post(request, key)


class MachineStopApi(_MachineDeed):
    service = services.stop_machine

    @extend_schema(request=None, responses=shapes.MachineOutput)
    def post(self, request: Request, key: str) -> Response:
        return super().post(request, key)


class MachineRestartApi(_MachineDeed):
    service = services.restart_machine

    @extend_schema(request=None, responses=shapes.MachineOutput)
    def post(self, request: Request, key: str) -> Response:
        return super().post(request, key)


class MachineExtendApi(_MachineDeed):
    shape, service = shapes.MachineExtendInput, services.extend_machine

    @extend_schema(request=shapes.MachineExtendInput, responses=shapes.MachineOutput)
    def post(self, request: Request, key: str) -> Response:
        return super().post(request, key)


class MachineChangeApi(_MachineDeed):
    shape, service = shapes.MachineChangeInput, services.change_machine

    @extend_schema(request=shapes.MachineChangeInput, responses=shapes.MachineOutput)
    def post(self, request: Request, key: str) -> Response:
        return super().post(request, key)


class MachineResetApi(_MachineDeed):
    service = services.reset_machine

    @extend_schema(request=None, responses=shapes.MachineOutput)
    def post(self, request: Request, key: str) -> Response:
        return super().post(request, key)


class MachineSaveApi(_MachineDeed):
    shape, service = shapes.MachineSaveInput, saving.save_machine

    @extend_schema(request=shapes.MachineSaveInput, responses=shapes.MachineOutput)
    def post(self, request: Request, key: str) -> Response:
        return super().post(request, key)


class MachineCloneApi(APIView):
    @extend_schema(request=shapes.MachineCloneInput, responses={201: shapes.MachineOutput})
    def post(self, request: Request, key: str) -> Response:
        viewer = viewer_of(request)
        found = selectors.find_machine(viewer, key)
        given = read_input(shapes.MachineCloneInput, request.data)
        return answer(clone_machine(by=viewer, machine=found, **given), 201)


class SavedImageListApi(APIView):
    @extend_schema(responses=shapes.SavedImageOutput(many=True))
    def get(self, request: Request) -> Response:
        found = [show_saved(image) for image in saving.list_saved(viewer_of(request))]
        return Response(shapes.SavedImageOutput(found, many=True).data)


class SavedImageApi(APIView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        saving.delete_saved(by=viewer_of(request), name=name)
        return Response(status=204)


class MachinePortListApi(APIView):
    @extend_schema(responses=shapes.MachinePortOutput(many=True))
    def get(self, request: Request, key: str) -> Response:
        found = selectors.find_machine(viewer_of(request), key)
        ports = [show_port(found, port) for port in selectors.list_ports(found)]
        return Response(shapes.MachinePortOutput(ports, many=True).data)


class MachinePortApi(APIView):
    @extend_schema(request=shapes.MachinePortInput, responses=shapes.MachinePortOutput)
    def put(self, request: Request, key: str, port: int) -> Response:
        viewer = viewer_of(request)
        found = selectors.find_machine(viewer, key)
        given = read_input(shapes.MachinePortInput, request.data)
        given["audience"] = Audience(given["audience"])
        made = services.publish_port(by=viewer, machine=found, port=port, **given)
        return Response(shapes.MachinePortOutput(show_port(found, made)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, key: str, port: int) -> Response:
        viewer = viewer_of(request)
        found = selectors.find_machine(viewer, key)
        services.unpublish_port(by=viewer, machine=found, port=port)
        return Response(status=204)


class MachineEnterApi(APIView):
    @extend_schema(request=shapes.MachineEnterInput, responses=shapes.MachineEntryOutput)
    def post(self, request: Request, key: str) -> Response:
        viewer = viewer_of(request)
        given = read_input(shapes.MachineEnterInput, request.data)
        found = selectors.find_enterable(viewer, key, given["port"])
        note_tab(viewer, found.key, name_port(found, given["port"]))
        basis = make_basis(request)
        url = enter_url(user=viewer, machine=found, basis=basis, **given)
        return Response(shapes.MachineEntryOutput({"url": url}).data)


def _show_image(image: Any) -> dict[str, Any]:
    return {
        "name": image.name,
        "title": image.title,
        "tools": image.ordered_tools,
        "flavors": [flavor.name for flavor in image.flavors.all()],
        "is_mine": image.owner_id is not None,
    }
