"""Internet addresses as people and proxies write them: one address, however it is spelt, is one value.

An IPv4 address that a dual-stack socket writes as `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2) is that IPv4 address.
A zone (`%eth0`, RFC 4007, section 11) names an interface of the machine that wrote it and is dropped.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOBODY = IPv4Address(0)
"""Where no address is known. It is the unspecified address (RFC 1122, section 3.2.1.3): no sender ever has it."""
ADDRESSES_KEPT = 4096
MAPPED_BITS = 96
"""Of a network of mapped addresses so many bits of the prefix only say that they are mapped."""
SITE_BITS = 64
"""One customer of an IPv6 provider has at least so many bits to choose addresses from (RFC 6177)."""
_PEER = re.compile(r"\[(?P<bracketed>[^\[\]]+)\](:[0-9]{1,5})?|(?P<dotted>[0-9.]+):[0-9]{1,5}|(?P<bare>[^\[\]]+)")

_BRACKETED = re.compile(r"\[([^\[\]]+)\](/[0-9]+)?")
_ZONE = re.compile(r"%[^/]+")


# Few senders, many callbacks: remembered.
@lru_cache(maxsize=ADDRESSES_KEPT)
def address(written: str) -> Address:
    """The address in `written`: bare, in brackets, with a port, with a zone, mapped. Raises ValueError."""
    found = _PEER.fullmatch(written.strip())
    if found is None:
        raise ValueError("want an address, as in 203.0.113.7 or 2001:db8::7")
    return _unmapped(ip_address(_unzoned(found["bracketed"] or found["dotted"] or found["bare"])))


def network(written: str) -> Network:
    """The network in `written`, or the one address that is a network by itself. Raises ValueError.

    A port is refused: a list of networks would seem to let in that port only.
    """
    bracketed = _BRACKETED.fullmatch(written.strip())
    found = ip_network(_unzoned("".join(bracketed.groups("")) if bracketed else written.strip()))
    mapped = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    if mapped is None or found.prefixlen < MAPPED_BITS:
        return found
    return IPv4Network((mapped, found.prefixlen - MAPPED_BITS))


@lru_cache(maxsize=ADDRESSES_KEPT)
def site_of(peer: Address) -> Address:
    """Whom to take for one stranger: an IPv4 address, or all that share the first half of an IPv6 address."""
    if isinstance(peer, IPv4Address):
        return peer
    return IPv6Address(int(peer) >> SITE_BITS << SITE_BITS)


def _unmapped(found: Address) -> Address:
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found if mapped is None else mapped


def _unzoned(written: str) -> str:
    """Without the zone, which ends at the prefix or at the end. Raises ValueError for two, and for one in IPv4."""
    if "%" not in written:
        return written
    if ":" not in written or written.count("%") > 1:
        raise ValueError("an IPv6 address may have one zone, an IPv4 address none")
    return _ZONE.sub("", written)
