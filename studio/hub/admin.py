"""Repos in Django's admin, to look at."""

from django.contrib import admin

from studio.hub.models import Repo


@admin.register(Repo)
class RepoAdmin(admin.ModelAdmin):
    list_display = ["repo_id", "kind", "role", "visibility", "size_bytes", "updated_at"]
    list_filter = ["kind", "role", "visibility"]
    search_fields = ["namespace", "name"]
    raw_id_fields = ["head", "owner"]
