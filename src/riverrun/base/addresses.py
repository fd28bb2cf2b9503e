"""Which hosts may be spoken to on behalf of somebody else: public ones. What a user may name, a server or a shared worker
must not be talked into reaching inside its own network.

`guarded` and `aguarded` make HTTP transports that look a host up once, refuse it if any of its addresses is not public, and
connect to what they have looked up, so that a second lookup can't give another answer.
"""

import ipaddress
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from riverrun.base.errors import DeniedError

if TYPE_CHECKING:
    import httpx

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RestrictedAddress(DeniedError, ValueError):
    """This address is not on the public internet and must not be called."""

    code = "address_restricted"


def public_addresses(host: str) -> list[str]:
    """The addresses of a host; RestrictedAddress if one of them is not public or there are none."""
    try:
        found = {
            str(entry[4][0]).partition("%")[0]: None
            for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        }
    except (OSError, UnicodeError):
        raise RestrictedAddress(f"The host {host!r} could not be resolved.") from None
    for address in found:
        if not _is_public(ipaddress.ip_address(address)):
            raise RestrictedAddress(f"The host {host!r} resolves to {address}, which is not a public address.")
    return list(found)


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
    return address.is_global and not address.is_multicast


def check_url(url: str) -> None:
    """Raise RestrictedAddress unless this is an http or https URL of a public host."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RestrictedAddress(
            f"{parts.scheme}://{parts.hostname or ''} is no address to call: give a http or https URL."
        )
    public_addresses(parts.hostname)


def guarded(**options: Any) -> "httpx.HTTPTransport":
    """A transport for `httpx.Client` that reaches public hosts only."""
    import httpx

    class Guarded(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            return super().handle_request(_pinned(request))

    return Guarded(**options)


def aguarded(**options: Any) -> "httpx.AsyncHTTPTransport":
    """A transport for `httpx.AsyncClient` that reaches public hosts only."""
    import asyncio

    import httpx

    class Guarded(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return await super().handle_async_request(await asyncio.to_thread(_pinned, request))

    return Guarded(**options)


def _pinned(request: "httpx.Request") -> "httpx.Request":
    """The request to the address that was checked. The header Host and the name in TLS stay those of the host."""
    host = request.url.host
    address = public_addresses(host)[0]
    request.extensions = {**request.extensions, "sni_hostname": host}
    request.url = request.url.copy_with(host=address)
    return request
