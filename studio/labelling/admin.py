"""Labelling projects for superusers."""

from django.contrib import admin

from studio.labelling.models import Project


@admin.register(Project)
class ProjectAdmin(admin.ModelAdmin):
    list_display = ["name", "owner", "kind", "dataset", "num_done", "num_rows", "is_open"]
    readonly_fields = ["owner", "commit", "dataset", "revision", "path"]
    search_fields = ["name", "dataset"]
