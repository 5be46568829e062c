"""What is seen of imports: one's own."""

from uuid import UUID

from django.db.models import QuerySet

from studio.accounts.models import User
from studio.core.errors import NotFound
from studio.importing.models import Import


def list_imports(viewer: User) -> QuerySet[Import]:
    """Return a person's imports, latest first."""
    return Import.objects.filter(owner=viewer).order_by("-created_at", "pk")


def get_import(viewer: User, import_id: UUID) -> Import:
    """Return one import.

    Raises:
        NotFound: it is not this person's, or there is none.
    """
    item = list_imports(viewer).filter(pk=import_id).first()
    if item is None:
        raise NotFound
    return item
