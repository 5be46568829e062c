"""The studio's front door: HTTP by Django, WebSockets by Channels."""

import os

import django
from channels.routing import ProtocolTypeRouter, URLRouter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
django.setup(set_prefix=False)

from studio.accounts.sockets import TokenOrSession  # noqa: E402  needs the apps loaded
from studio.core.bodies import StudioHandler  # noqa: E402
from studio.machines.web.proxy import MachineOrigins  # noqa: E402
from studio.routing import websocket_urlpatterns  # noqa: E402

application = MachineOrigins(
    ProtocolTypeRouter(
        {"http": StudioHandler(), "websocket": TokenOrSession(URLRouter(websocket_urlpatterns))}
    )
)
