"""Who is at the other end of a request, behind whatever proxies are ours."""

from collections.abc import Sequence

from aiohttp import web

from service.runtime.addresses import NOBODY, Address, Network, address


def peer_of(request: web.BaseRequest, trusted_proxies: Sequence[Network]) -> Address:
    """The sender's address: the connection's, or behind trusted proxies the last one they saw.

    What a trusted proxy saw and cannot be read as an address is NOBODY's, and never the proxy's own.
    """
    peer = address(request.remote) if request.remote else NOBODY
    if not trusted_proxies:
        return peer
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
    for hop in reversed([hop for hop in forwarded.split(",") if hop.strip()]):
        if not any(peer in network for network in trusted_proxies):
            break
        try:
            peer = address(hop)
        except ValueError:
            return NOBODY
    return peer
