"""Facets and likes at the dashboard's API: parse, call one service or selector, shape."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.hub import serializers as shapes
from studio.hub.apis import read_search
from studio.hub.callers import get_caller
from studio.hub.catalogue.negotiation import FormatIsOurs
from studio.hub.catalogue.search import count_facets
from studio.hub.catalogue.selectors import count_likes
from studio.hub.catalogue.services import like_repo
from studio.hub.selectors import get_repo


class FacetsApi(APIView):
    content_negotiation_class = FormatIsOurs

    @extend_schema(parameters=[shapes.RepoListInput], responses=shapes.FacetsOutput)
    def get(self, request: Request) -> Response:
        facets = count_facets(get_caller(request), read_search(request))
        shown = {
            name: [{"value": value, "count": count} for value, count in values]
            for name, values in facets.items()
        }
        return Response(shapes.FacetsOutput(shown).data)


class LikeApi(APIView):
    @extend_schema(request=None, responses=shapes.LikeOutput)
    def put(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        return _like(request, kind, namespace, name, is_liked=True)

    @extend_schema(request=None, responses=shapes.LikeOutput)
    def delete(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        return _like(request, kind, namespace, name, is_liked=False)


def _like(request: Request, kind: str, namespace: str, name: str, *, is_liked: bool) -> Response:
    repo = get_repo(get_caller(request), kind, namespace, name)
    like_repo(by=get_caller(request), repo=repo, is_liked=is_liked)
    return Response({"likes": count_likes(repo), "is_liked": is_liked})
