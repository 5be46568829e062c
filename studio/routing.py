"""Which WebSocket address is whose."""

from django.urls import path

from studio.jobs.consumers import MineConsumer, RunConsumer
from studio.machines.consumers import TerminalConsumer

websocket_urlpatterns = [
    path("ws/runs/<uuid:run_id>/", RunConsumer.as_asgi()),
    path("ws/machines/<slug:key>/terminal/", TerminalConsumer.as_asgi()),
    path("ws/me/", MineConsumer.as_asgi()),
]
