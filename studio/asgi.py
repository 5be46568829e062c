"""The studio's front door: HTTP by Django, WebSockets by Channels."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
_http = get_asgi_application()

from studio.accounts.sockets import TokenOrSession  # noqa: E402  needs the apps loaded
from studio.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {"http": _http, "websocket": TokenOrSession(URLRouter(websocket_urlpatterns))}
)
