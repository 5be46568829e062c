"""What a browser sees at a machine's origin when the machine itself has nothing to show."""

import json
from html import escape
from urllib.parse import urlencode

from django.conf import settings

from studio.machines.web.access import Verdict
from studio.machines.web.headers import Headers
from studio.machines.web.origins import Origin

_WORDS = {
    "unknown": (404, "There is nothing here that you may open.", "这里没有您可以打开的内容。"),
    "foreign": (
        403,
        "Another site asked this in your name: open the address itself.",
        "另一个网站以您的名义发出了此请求：请直接打开该地址。",
    ),
    "sign_in": (401, "Sign in at the studio to open this.", "请先在平台登录再打开。"),
    "starting": (
        503,
        "The machine is starting; this page opens by itself.",
        "开发机正在启动，本页会自动打开。",
    ),
    "stopped": (
        503,
        "The machine does not run now: start it in the studio.",
        "开发机未运行：请在平台中启动。",
    ),
    "not_listening": (
        502,
        "Nothing answers at this port of the machine yet; this page looks again by itself.",
        "开发机的该端口尚无程序监听，本页会自动重试。",
    ),
    "broken": (
        502,
        "The program at this port of the machine broke off its answer.",
        "开发机该端口上的程序中断了应答。",
    ),
}
_LOOKS_AGAIN = {"starting", "not_listening"}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
Page = tuple[int, Headers, bytes]


def make_page(what: str, origin: Origin, *, is_visit: bool) -> Page:
    """Return status, headers and body: a page for who visits, JSON for programs."""
    status, english, chinese = _WORDS[what]
    common: Headers = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
    if not is_visit:
        body = json.dumps({"code": what, "message": english, "field": None, "params": {}}).encode()
        return status, [*common, (b"content-type", b"application/json")], body
    again = '<meta http-equiv="refresh" content="2">' if what in _LOOKS_AGAIN else ""
    link = f"{settings.PUBLIC_URL}/machines"
    body = (
        f'<!doctype html><html lang="zh"><head><meta charset="utf-8">{again}'
        '<meta name="viewport" content="width=device-width"><title>Athanor</title>'
        "<style>:root{color-scheme:light dark}body{font:16px/1.6 system-ui,sans-serif;"
        "max-width:34rem;margin:18vh auto 0;padding:0 1rem}</style></head><body>"
        f'<p>{escape(chinese)}</p><p lang="en">{escape(english)}</p>'
        f'<p><a href="{escape(link)}">Athanor</a></p></body></html>'
    ).encode()
    headers: Headers = [
        *common,
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", _POLICY.encode()),
    ]
    return status, headers, body


def make_refusal(verdict: Verdict, origin: Origin, path: str, *, is_visit: bool) -> Page:
    """Return what to answer to who may not in: to a visitor without a cookie, where to get one."""
    if verdict is Verdict.SIGN_IN and is_visit:
        query = urlencode({"port": origin.port, "key": origin.key, "path": path})
        where = f"{settings.PUBLIC_URL}/machines/enter?{query}"
        return 303, [(b"location", where.encode()), (b"cache-control", b"no-store")], b""
    return make_page(verdict.value, origin, is_visit=is_visit)
