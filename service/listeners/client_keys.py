"""The certificate that a sender has shown to one of our proxies, where TLS ends: which key it is of."""

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from aiohttp import web
from cryptography.exceptions import UnsupportedAlgorithm

from service.runtime.addresses import Network, address

ESCAPED_PEM = "-----BEGIN%20CERTIFICATE-----"
"""How nginx begins what it hands on."""


class ClientKeys:
    """Reads the header in which trusted proxies hand on certificates; without its name no certificate is believed.

    A header of whoever else is not looked at, nor one that stands there twice. That a trusted proxy removes what its
    own clients send under that name is its configuration: the files of `deploy/proxy` do.
    """

    def __init__(self, header: str | None, trusted_proxies: Sequence[Network]) -> None:
        self._header, self._trusted_proxies = header, trusted_proxies

    def of(self, request: web.BaseRequest) -> str:
        """The SHA-256 of the certificate's public key in hexadecimal digits; empty where there is none."""
        if self._header is None or self._header not in request.headers or not request.remote:
            return ""
        given = request.headers.getall(self._header)
        peer = address(request.remote)
        if len(given) != 1 or not any(peer in network for network in self._trusted_proxies):
            return ""
        return key_of(given[0])


# A carrier shows the same one with each callback.
@lru_cache(maxsize=256)
def key_of(written: str) -> str:
    """The key of a certificate: `:BASE64:`, as RFC 9440 writes it, or percent-encoded PEM; empty for all else."""
    # Loaded with the first certificate: most installations are shown none.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        if written.startswith(ESCAPED_PEM):
            certificate = x509.load_pem_x509_certificate(unquote_to_bytes(written))
        else:
            if len(written) < 2 or (written[0], written[-1]) != (":", ":"):
                return ""
            certificate = x509.load_der_x509_certificate(base64.b64decode(written[1:-1], validate=True))
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        return ""
    return hashlib.sha256(key).hexdigest()
