"""The web process: uvicorn with the studio's own logging, so that every line is JSON.

Also the command of the web container.
"""

import argparse

import uvicorn


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studio.up.web", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8600)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--behind-proxy", action="store_true", help="believe X-Forwarded-*")
    options = parser.parse_args()
    uvicorn.run(
        "studio.asgi:application",
        host=options.host,
        port=options.port,
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


if __name__ == "__main__":
    main()
