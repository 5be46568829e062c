"""The ledger in Django's admin: to look at only."""

from django.contrib import admin
from django.http import HttpRequest

from studio.points.models import Entry, PointAccount, Transfer


class ReadOnlyAdmin(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class EntryInline(admin.TabularInline):
    model = Entry
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(PointAccount)
class PointAccountAdmin(ReadOnlyAdmin):
    list_display = ["id", "user", "kind", "balance"]
    list_select_related = ["user"]
    list_filter = ["kind"]
    search_fields = ["user__username"]


@admin.register(Transfer)
class TransferAdmin(ReadOnlyAdmin):
    list_display = ["id", "created_at", "user", "reason", "note", "by", "run_id"]
    list_select_related = ["user", "by"]
    list_filter = ["reason"]
    search_fields = ["user__username", "run_id"]
    inlines = [EntryInline]
