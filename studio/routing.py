"""Which WebSocket address is whose."""

from django.urls import path

from studio.jobs.consumers import MineConsumer, RunConsumer

websocket_urlpatterns = [
    path("ws/runs/<uuid:run_id>/", RunConsumer.as_asgi()),
    path("ws/me/", MineConsumer.as_asgi()),
]
