"""Live views over WebSocket."""

from channels.generic.websocket import AsyncJsonWebsocketConsumer


class RunConsumer(AsyncJsonWebsocketConsumer):
    """One run's events."""


class MineConsumer(AsyncJsonWebsocketConsumer):
    """That something of mine changed."""
