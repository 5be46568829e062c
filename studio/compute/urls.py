"""Addresses of flavors and nodes."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
