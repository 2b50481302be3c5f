"""An address is one value in every spelling; what is none is refused."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from service.runtime.addresses import address, network, site_of

V4, V6 = "203.0.113.7", "2001:db8::7"
SPELLINGS: dict[str, str] = {
    V4: V4,
    f" {V4}\t": V4,
    f"{V4}:51234": V4,
    f"[{V4}]:443": V4,
    f"::ffff:{V4}": V4,
    "::FFFF:cb00:7107": V4,
    "0:0:0:0:0:ffff:203.0.113.7": V4,
    f"[::ffff:{V4}]": V4,
    f"[::ffff:{V4}]:51234": V4,
    f"::ffff:{V4}%eth0": V4,
    V6: V6,
    "2001:DB8:0:0::7": V6,
    f"[{V6}]": V6,
    f"[{V6}]:51234": V6,
    "fe80::1%eth0": "fe80::1",
    "[fe80::1%25eth0]:80": "fe80::1",
}


@pytest.mark.parametrize("written", SPELLINGS)
def test_an_address_is_the_same_in_any_spelling(written: str) -> None:
    assert address(written) == ip_address(SPELLINGS[written])


@pytest.mark.parametrize(
    "written",
    [
        "", " ", "the carrier", "unknown", "_hidden", "203.0.113", "203.0.113.007", "203.0.113.7:", "203.0.113.7:x",
        "203.0.113.7:123456", "[2001:db8::7", "2001:db8::7]", "[[2001:db8::7]]", "[]", "[]:80", "203.0.113.7/32",
        "203.0.113.7, 198.51.100.1", "203.0.113.7%eth0", '"203.0.113.7"', "fe80::1%a%b", "٢٠٣.0.113.7",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- whoever asks says in its own words what is wrong
        address(written)


NETWORKS: dict[str, str] = {
    "203.0.113.0/24": "203.0.113.0/24",
    V4: f"{V4}/32",
    "::ffff:203.0.113.0/120": "203.0.113.0/24",
    "[::ffff:203.0.113.0]/120": "203.0.113.0/24",
    f"::ffff:{V4}": f"{V4}/32",
    "::ffff:0:0/96": "0.0.0.0/0",
    " 2001:db8::/32 ": "2001:db8::/32",
    "[2001:db8::]/32": "2001:db8::/32",
    f"[{V6}]": f"{V6}/128",
    "fe80::1%eth0": "fe80::1/128",
    "fe80::%eth0/64": "fe80::/64",
}


@pytest.mark.parametrize("written", NETWORKS)
def test_a_network_is_the_same_in_any_spelling(written: str) -> None:
    assert network(written) == ip_network(NETWORKS[written])


NO_NETWORKS = (
    "", "everybody", "203.0.113.7/24", "203.0.113.7:443", "[2001:db8::7]:443", "[2001:db8::]:443/64", "[]/8",
    "2001:db8::%a%b/64",
)  # fmt: skip


@pytest.mark.parametrize("written", NO_NETWORKS)
def test_what_is_no_network_is_refused(written: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- whoever asks says in its own words what is wrong
        network(written)


def test_one_customer_of_an_ipv6_provider_is_one_stranger() -> None:
    assert site_of(IPv6Address("2001:db8::7")) == site_of(IPv6Address("2001:db8::8:0:0:1"))
    assert site_of(IPv6Address("2001:db8::7")) != site_of(IPv6Address("2001:db8:0:1::7"))
    assert site_of(IPv4Address(V4)) == IPv4Address(V4)
