"""Addresses of the hub below /api/hub/."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
