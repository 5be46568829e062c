"""Imports in Django's admin, to look at."""

from django.contrib import admin

from studio.accounts.admin import ReadOnlyAdmin
from studio.importing.models import Import


@admin.register(Import)
class ImportAdmin(ReadOnlyAdmin):
    list_display = ["id", "owner", "source", "namespace", "name", "state", "created_at", "ended_at"]
    list_filter = ["kind", "state"]
    list_select_related = ["owner"]
    search_fields = ["owner__username", "source", "name"]
    exclude = ["sealed_token"]
