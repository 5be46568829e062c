"""Images of dev machines at the API, for operators: what is offered, on what, and where."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts.viewers import viewer_of
from studio.core.errors import NotFound
from studio.core.inputs import read_input
from studio.core.permissions import IsOperator
from studio.machines import images
from studio.machines import serializers as shapes


class ImageListApi(APIView):
    """Every image, and the door to offer one."""

    permission_classes = [IsOperator]

    @extend_schema(responses=shapes.RegisteredImageOutput(many=True))
    def get(self, request: Request) -> Response:
        """Answer all of them, retired ones too."""
        return Response(shapes.RegisteredImageOutput(images.list_registered(), many=True).data)

    @extend_schema(request=shapes.ImageInput, responses={201: shapes.RegisteredImageOutput})
    def post(self, request: Request) -> Response:
        """Offer an image, or say anew what one is."""
        given = read_input(shapes.ImageInput, request.data)
        given.setdefault("idle_s", images.get_idle_s(given["name"]))
        image = images.register_image(by=viewer_of(request), **given)
        return _answer(image.name, 201)


class ImageRetireApi(APIView):
    """An image is offered no longer."""

    permission_classes = [IsOperator]

    @extend_schema(request=None, responses=shapes.RegisteredImageOutput)
    def post(self, request: Request, name: str) -> Response:
        """Retire it; machines that have it go on."""
        images.retire_image(by=viewer_of(request), name=name)
        return _answer(name, 200)


def _answer(name: str, status: int) -> Response:
    for image in images.list_registered():
        if image["name"] == name:
            return Response(shapes.RegisteredImageOutput(image).data, status=status)
    raise NotFound
