"""Addresses below `api/points/`."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
