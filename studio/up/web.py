"""The web process: uvicorn with the studio's own logging, so that every line is JSON.

Also the command of the web container. It listens at its own port and at those that stand for
machines' ports (STUDIO_MACHINES_PORTS): one application, which knows at which a caller came in.
"""

import argparse
import socket
import sys

import uvicorn
from django.core.exceptions import ImproperlyConfigured
from uvicorn.supervisors import Multiprocess

from studio import env

_BACKLOG = 2048


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studio.up.web", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8600)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--behind-proxy", action="store_true", help="believe X-Forwarded-*")
    options = parser.parse_args()
    config = uvicorn.Config(
        "studio.asgi:application",
        workers=options.processes,
        proxy_headers=options.behind_proxy,
        forwarded_allow_ips="*" if options.behind_proxy else None,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        # Live views and streams never end by themselves; their clients come back with a cursor.
        timeout_graceful_shutdown=3,
    )
    try:
        numbers = [options.port, *env.ports("STUDIO_MACHINES_PORTS")]
        sockets = [listen(options.host, number) for number in numbers]
    except (ImproperlyConfigured, OSError) as error:
        sys.exit(f"athanor: {error}")
    if options.processes > 1:
        Multiprocess(config, sockets=sockets).run()
    else:
        uvicorn.Server(config).run(sockets=sockets)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OSError: the address is taken, or none of this machine's; it says which.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(f"{host}:{port} cannot be taken ({error.strerror}).") from error


if __name__ == "__main__":
    main()
