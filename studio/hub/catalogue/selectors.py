"""What may be read of likes."""

from studio.hub.access import Reader, Viewer
from studio.hub.catalogue.models import CatalogueEntry, Like
from studio.hub.models import Repo


def is_liked_by(viewer: Viewer, repo: Repo) -> bool:
    """Say whether whoever looks likes a repo."""
    user = viewer.user if isinstance(viewer, Reader) else viewer
    return Like.objects.filter(repo=repo, user_id=user.pk).exists()


def count_likes(repo: Repo) -> int:
    """Return how many people like a repo."""
    entry = CatalogueEntry.objects.filter(repo=repo).first()
    return entry.num_likes if entry else 0
