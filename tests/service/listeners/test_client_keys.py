"""A certificate is believed from a trusted proxy alone, in the header that the operator names, once."""

import base64
import random
import ssl
from urllib.parse import quote

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from service.listeners.client_keys import ClientKeys, key_of
from service.runtime.addresses import network
from tests.gateways.calls import mutated
from tests.support.fronts import pin_of, self_signed

PEM = self_signed("carrier.example")[0]
DER = ssl.PEM_cert_to_DER_cert(PEM.decode())
OF_RFC = f":{base64.b64encode(DER).decode()}:"
OF_NGINX = quote(PEM.decode(), safe="!*'()-._~$&+,;=:@/")
PROXY, STRANGER = "127.0.0.1", "192.0.2.1"

CASES: dict[str, tuple[str | None, str, tuple[tuple[str, str], ...], bool]] = {
    "as RFC 9440 writes it": ("Client-Cert", PROXY, (("Client-Cert", OF_RFC),), True),
    "as nginx writes it": ("Client-Cert", PROXY, (("client-cert", OF_NGINX),), True),
    "another name": ("X-Cert", PROXY, (("X-Cert", OF_RFC),), True),
    "from somebody else": ("Client-Cert", STRANGER, (("Client-Cert", OF_RFC),), False),
    "no name is set": (None, PROXY, (("Client-Cert", OF_RFC),), False),
    "twice": ("Client-Cert", PROXY, (("Client-Cert", OF_RFC), ("Client-Cert", OF_RFC)), False),
    "a list": ("Client-Cert", PROXY, (("Client-Cert", f"{OF_RFC}, {OF_RFC}"),), False),
    "empty": ("Client-Cert", PROXY, (("Client-Cert", ""),), False),
    "as Caddy writes none": ("Client-Cert", PROXY, (("Client-Cert", "::"),), False),
    "none": ("Client-Cert", PROXY, (), False),
}


@pytest.mark.parametrize("label", CASES)
def test_whose_certificate_is_believed(label: str) -> None:
    header, peer, headers, is_believed = CASES[label]
    request = make_mocked_request("POST", "/gw/standard/hub", headers=CIMultiDict(headers)).clone(remote=peer)
    believed = ClientKeys(header, (network("127.0.0.0/8"),)).of(request)
    assert believed == (pin_of(PEM) if is_believed else "")


def test_what_is_no_certificate_is_none_and_breaks_nothing() -> None:
    rng = random.Random(1400)
    for written in (OF_RFC, OF_NGINX):
        for _ in range(1_000):
            damaged = mutated(rng, written.encode()).decode("utf-8", "surrogateescape")
            assert len(key_of(damaged)) in (0, 64)
    for written in (":", "::", ":=:", "\ud800", "-----BEGIN%20CERTIFICATE-----", OF_RFC[:-1], OF_NGINX[:200]):
        assert key_of(written) == ""
