"""Asks a running web process how it is: the health check of the web container.

Apart from the server and with the standard library alone: it runs every few seconds.
"""

import argparse
import json
import sys
import urllib.error
import urllib.request


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m studio.up.web_health", description=__doc__)
    parser.add_argument("--port", type=int, default=8600)
    return check(parser.parse_args().port)


def check(port: int) -> int:
    """Return 0 when the web process reaches its database and Redis; a node may be away."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        body = error.read()  # 503 names the part that is away
    except OSError as error:
        print(f"athanor: no health from port {port}: {error!r}", file=sys.stderr)
        return 1
    try:
        parts = json.loads(body)
        return 0 if parts["database"]["ok"] and parts["redis"]["ok"] else 1
    except (ValueError, KeyError, TypeError) as error:
        print(f"athanor: port {port} answers strangely: {error!r}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
