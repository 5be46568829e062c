"""Images and machines in Django's admin."""

from django.contrib import admin

from studio.machines.models import Image, Machine, NodeEngine


@admin.register(Image)
class ImageAdmin(admin.ModelAdmin):
    list_display = ["name", "owner", "title", "reference", "node", "is_active"]


@admin.register(Machine)
class MachineAdmin(admin.ModelAdmin):
    list_display = ["name", "owner", "status", "reason", "flavor", "node", "created_at"]
    list_filter = ["status", "node"]

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):  # by services alone
        return False

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(NodeEngine)
class NodeEngineAdmin(admin.ModelAdmin):
    list_display = ["node", "version", "problem", "unlimited", "reported_at"]

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):  # by its node alone
        return False
