"""Attempts to have two hops disagree on where a request ends (RFC 9112, 6 and 11.2).

Bob may open this port of Alice's, and hides in his request another that nobody has let in. It has
succeeded where her program hears that, or hears the next one's request as a part of his.
"""

from tests.studio.machines.attacks.rows import Attack
from tests.studio.machines.attacks.scene import Scene

_HIDDEN = "GET /hidden HTTP/1.1\r\nHost: {victim}\r\nX-Hidden: 1\r\n\r\n"
_WAIT_S = 0.7


def frames(name: str, lines: list[str], body: str, *, method: str = "POST") -> Attack:
    """Make a row of one request with a body that holds another."""

    def attempt(scene: Scene) -> str:
        head = [f"{method} /outer HTTP/1.1", "Host: {victim}", "Cookie: {cookie}={his_at_hers}"]
        said = "\r\n".join([*head, *lines, "", body])
        for word, value in {"hidden": _HIDDEN, **scene.words}.items():
            said = said.replace("{" + word + "}", value)
        scene.raw(said.encode("latin-1"), wait_s=_WAIT_S)
        scene.ask("Host: {victim}", "Cookie: {cookie}={hers}", target="/next")
        paths = [each["path"] for each in scene.hers.heard]
        is_whole = set(paths) <= {"/outer", "/next"} and paths.count("/next") == 1
        return "" if is_whole else f"heard {paths}"

    return Attack(name, attempt)


CHUNKED = "Transfer-Encoding: chunked"
FRAMING = [
    frames("length-and-chunks", ["Content-Length: 5", CHUNKED], "0\r\n\r\n{hidden}"),
    frames("chunks-and-length", [CHUNKED, "Content-Length: 300"], "0\r\n\r\n{hidden}"),
    frames("two-lengths", ["Content-Length: 0", "Content-Length: 90"], "{hidden}"),
    frames("list-of-lengths", ["Content-Length: 0, 90"], "{hidden}"),
    frames("length-with-plus", ["Content-Length: +0"], "{hidden}"),
    frames("negative-length", ["Content-Length: -1"], "{hidden}"),
    frames("length-in-hex", ["Content-Length: 0x0"], "{hidden}"),
    frames("length-with-space", ["Content-Length : 0"], "{hidden}"),
    frames("unknown-coding", ["Transfer-Encoding: xchunked"], "0\r\n\r\n{hidden}"),
    frames("coding-with-space", ["Transfer-Encoding : chunked"], "0\r\n\r\n{hidden}"),
    frames("coding-with-tab", ["Transfer-Encoding:\tchunked"], "0\r\n\r\n{hidden}"),
    frames("two-codings", [CHUNKED, "Transfer-Encoding: identity"], "0\r\n\r\n{hidden}"),
    frames("coding-folded", ["Transfer-Encoding:\r\n chunked"], "0\r\n\r\n{hidden}"),
    frames("coding-in-a-list", ["Transfer-Encoding: identity, chunked"], "0\r\n\r\n{hidden}"),
    frames("header-folded", ["X-A: b\r\n {hidden}"], ""),
    frames("bad-chunk-size", [CHUNKED], "xyz\r\n{hidden}"),
    frames("chunk-size-with-minus", [CHUNKED], "-1\r\n{hidden}"),
    frames("chunk-size-too-large", [CHUNKED], "fffffffffffffffff\r\n{hidden}"),
    frames("chunk-that-is-longer", [CHUNKED], "1\r\nab\r\n0\r\n\r\n{hidden}"),
    frames("chunk-extension", [CHUNKED], "0;a=b\n\r\n{hidden}"),
    frames("chunks-with-bare-newlines", [CHUNKED], "0\n\n{hidden}"),
    frames("hidden-in-a-trailer", [CHUNKED], "0\r\nX-A: b\r\n\r\n{hidden}"),
    frames("bare-newlines-in-a-header", ["Content-Length: 0", "X-A: b\n\n{hidden}"], ""),
    frames("bare-returns-in-a-header", ["Content-Length: 0", "X-A: b\r\r{hidden}"], ""),
    frames("nul-in-a-header", ["Content-Length: 0", "X-A: b\x00\r\n\r\n{hidden}"], ""),
    frames("get-with-a-body", ["Content-Length: 2"], "ab{hidden}", method="GET"),
    frames("body-without-a-length", [], "{hidden}"),
    frames("expect-and-go-on", ["Expect: 100-continue", "Content-Length: 0"], "{hidden}"),
    frames("upgrade-and-go-on", ["Upgrade: h2c", "Connection: Upgrade"], "{hidden}"),
]

TABLES = [FRAMING]
