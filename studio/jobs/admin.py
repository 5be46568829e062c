"""Jobs and runs in Django's admin: to look at only, since runs are moved by services alone."""

from django.contrib import admin

from studio.jobs.models import Job, Run


class ReadOnlyAdmin(admin.ModelAdmin):
    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ["id", "name", "owner", "kind", "flavor", "created_at"]
    list_select_related = ["owner", "flavor"]
    search_fields = ["name", "owner__username"]


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    list_display = ["id", "job", "index", "status", "reason", "node", "created_at"]
    list_select_related = ["job", "node"]
    list_filter = ["status", "reason"]
