"""Addresses of jobs, runs and specs, and the door the nodes post to."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
