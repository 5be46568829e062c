"""Doors of likes, as Hugging Face's clients ask for them."""

from rest_framework.request import Request
from rest_framework.response import Response

from studio.hub.access import visible_to
from studio.hub.callers import get_caller
from studio.hub.catalogue.models import Like
from studio.hub.catalogue.services import like_repo
from studio.hub.huggingface.doors import HubApi
from studio.hub.huggingface.pages import cut_page
from studio.hub.huggingface.shapes import show_time
from studio.hub.models import Repo

_PAGE = 1000


class LikeApi(HubApi):
    def post(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        return self._like(request, kind, namespace, name, is_liked=True)

    def delete(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        return self._like(request, kind, namespace, name, is_liked=False)

    def _like(
        self, request: Request, kind: str, namespace: str, name: str, *, is_liked: bool
    ) -> Response:
        self.refuse_runs()
        repo = self.find_repo(kind, namespace, name)
        like_repo(by=get_caller(request), repo=repo, is_liked=is_liked)
        return Response({})


class LikersApi(HubApi):
    def get(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        likes = Like.objects.filter(repo=self.find_repo(kind, namespace, name))
        page, headers = cut_page(request, list(likes.select_related("user").order_by("pk")), _PAGE)
        shown = [
            {
                "user": like.user.username,
                "fullname": like.user.display_name or like.user.username,
                "avatarUrl": "",
            }
            for like in page
        ]
        return Response(shown, headers=headers)


class UserLikesApi(HubApi):
    def get(self, request: Request, username: str) -> Response:
        seen = Repo.objects.filter(visible_to(self.reader())).values("pk")
        likes = Like.objects.filter(user__username__iexact=username, repo_id__in=seen)
        page, headers = cut_page(request, list(likes.select_related("repo").order_by("pk")), _PAGE)
        shown = [
            {
                "createdAt": show_time(like.liked_at),
                "repo": {"name": like.repo.repo_id, "type": like.repo.kind},
            }
            for like in page
        ]
        return Response(shown, headers=headers)
