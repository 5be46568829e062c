"""Nodes and flavors in Django's admin."""

from django.contrib import admin

from studio.compute.models import Flavor, Node


@admin.register(Flavor)
class FlavorAdmin(admin.ModelAdmin):
    list_display = ["name", "title", "cores", "memory_bytes", "price_mpoints_per_hour", "is_active"]


@admin.register(Node)
class NodeAdmin(admin.ModelAdmin):
    list_display = ["name", "last_seen_at", "cores", "memory_bytes", "version"]
    exclude = ["token_hash"]
    readonly_fields = [
        "last_seen_at",
        "version",
        "cores",
        "memory_bytes",
        "disk_free_bytes",
        "removed_at",
    ]

    def has_add_permission(self, request):  # by `manage.py node_token`, which shows the token
        return False
