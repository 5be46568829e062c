"""Deployments in Django's admin, to look at."""

from django.contrib import admin

from studio.serving.models import Deployment


@admin.register(Deployment)
class DeploymentAdmin(admin.ModelAdmin):
    list_display = ["model", "revision", "status", "created_at", "last_used_at"]
    list_filter = ["status"]
    raw_id_fields = ["job", "asked_by"]
