"""Which addresses an import may reach: public ones, and those that the operator allows besides.

A person names the host, so the studio must not become their way into its own network. A name is
resolved here, every address it has is judged, and the connection goes to an address that was
judged: what the name says a moment later makes no difference. Each redirect comes through again.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx
from django.conf import settings

from studio.core.errors import BadInput

Address = IPv4Address | IPv6Address
_NAT64 = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")
_LOCAL_USE_NAT64 = ip_network("64:ff9b:1::/48")
_AZURE = ip_address("168.63.129.16")  # public by its number, a cloud's own server by its use


class AddressRefused(BadInput):
    """The host is in a network that imports do not reach."""

    code = "address_refused"

    def __init__(self, host: str) -> None:
        """Name the host, and not what its address is."""
        super().__init__(
            f"source: {host[:200]} is not on the public internet, and imports reach nothing else; "
            "ask the operator to allow it.",
            field="source",
            host=host[:200],
        )


class GuardedTransport(httpx.BaseTransport):
    """Connects to addresses that were judged, and to no others; environment proxies are not used.

    Each host has its own connections: two hosts at one address never share one.
    """

    def __init__(self) -> None:
        """Begin without connections."""
        self._transports: dict[str, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the first judged address that answers.

        Raises:
            AddressRefused: the host has an address that is not allowed.
            httpx.TransportError: it cannot be reached, or is no web address.
        """
        if request.url.scheme not in {"http", "https"}:
            raise httpx.UnsupportedProtocol(f"{request.url.scheme} is not fetched")
        host = request.url.raw_host.decode("ascii")
        transport = self._transports.setdefault(host, httpx.HTTPTransport())
        extensions = request.extensions | {"sni_hostname": host}
        failure: httpx.ConnectError | httpx.ConnectTimeout | None = None
        for address in find_addresses(host):
            sent = httpx.Request(
                request.method,
                request.url.copy_with(host=str(address)),
                headers=request.headers,  # Host among them
                stream=request.stream,
                extensions=extensions,
            )
            try:
                return transport.handle_request(sent)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure or httpx.ConnectError(f"{host} has no address")

    def close(self) -> None:
        """Close every connection."""
        for transport in self._transports.values():
            transport.close()


def find_addresses(host: str) -> list[Address]:
    """Return a host's addresses, all of which may be reached.

    Raises:
        AddressRefused: one of them may not.
        httpx.ConnectError: it has none.
    """
    try:
        found = resolve(host)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"{host} has no address") from error
    return _judge(host, found)


def check_number(host: str) -> None:
    """Refuse what is an address already, in whatever notation, and may not be reached.

    A name is judged when it is fetched from; this asks no server.

    Raises:
        AddressRefused: it may not.
    """
    try:
        found = resolve(host, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        found = []
    if found:
        _judge(host, found)
    elif host.lower().rstrip(".").endswith("localhost"):
        _judge(host, [ip_address("127.0.0.1")])


def resolve(host: str, *, flags: int = 0) -> list[Address]:
    """Return what a host resolves to, in the system's order.

    Raises:
        OSError, UnicodeError: it resolves to nothing.
    """
    rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys(ip_address(str(row[4][0])) for row in rows))


def is_public(address: Address) -> bool:
    """Say whether an address is anybody's on the internet, and not a way to a private one."""
    if isinstance(address, IPv6Address):
        inner = _find_inner(address)
        if inner is not None:
            return is_public(inner)
        if address in _LOCAL_USE_NAT64 or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and address != _AZURE


def _judge(host: str, found: Iterable[Address]) -> list[Address]:
    hosts, networks = settings.IMPORT_ALLOW
    addresses = list(found)
    if host.lower() in hosts:
        return addresses
    for address in addresses:
        if not is_public(address) and not any(address in network for network in networks):
            raise AddressRefused(host)
    return addresses


def _find_inner(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address carries: it is where the packets end."""
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.teredo:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour
