"""`manage.py ssh_gateway`: the SSH gateway, until told to end."""

import asyncio
import signal

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from studio.machines.ssh.gateway import Gateway
from studio.machines.ssh.host_keys import host_fingerprint

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Serve `ssh NAME@host` into dev machines, at STUDIO_SSH_BIND and STUDIO_SSH_PORT."

    def handle(self, *args, **options):
        try:
            asyncio.run(_serve())
        except OSError as error:
            raise CommandError(
                f"STUDIO_SSH_PORT: {settings.SSH_BIND}:{settings.SSH_PORT} cannot be taken "
                f"({error.strerror}): set a free port."
            ) from error


async def _serve() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gateway = Gateway()
    port = await gateway.open(settings.SSH_BIND, settings.SSH_PORT)
    log.info("ssh.listening", port=port, fingerprint=host_fingerprint())
    await stop.wait()
    await gateway.close()
