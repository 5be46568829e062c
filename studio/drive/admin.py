"""Quotas in Django's admin, to look at: the API sets them, which tells the file system as well."""

from django.contrib import admin

from studio.accounts.admin import ReadOnlyAdmin
from studio.drive.models import DriveQuota, Work


@admin.register(DriveQuota)
class DriveQuotaAdmin(ReadOnlyAdmin):
    list_display = ["user", "quota_bytes", "used_bytes", "measured_at"]
    list_select_related = ["user"]
    search_fields = ["user__username"]


@admin.register(Work)
class WorkAdmin(ReadOnlyAdmin):
    list_display = ["id", "user", "kind", "state", "created_at", "ended_at"]
    list_filter = ["kind", "state"]
    list_select_related = ["user"]
