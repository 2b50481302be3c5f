"""An authenticator without a device: makes, shows passkeys by the letter of the standard; it may be made to lie."""

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40
"""Flags of the authenticator data (Web Authentication, level 2, section 6.1)."""


def b64(content: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass
class Authenticator:
    """One passkey in one device, seen through one browser at `origin`."""

    origin: str
    rp_id: str = "localhost"
    credential_id: bytes = field(default_factory=lambda: os.urandom(32))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    handle: str | None = None
    """The person's, as the options had it."""
    count: int = 0
    step: int = 1
    """What its count of signatures grows by; 0: it does not count."""
    flags: int = PRESENT | VERIFIED
    in_frame: bool = False
    """Of a page of another site."""

    def make(self, options: dict[str, Any], **changes: Any) -> str:
        """Answer to options of making one, as JSON; `changes` stand in the place of `fmt`, `statement` or `cose`."""
        self.handle = options["user"]["id"]
        numbers = self.key.public_key().public_numbers()
        x, y = (each.to_bytes(32, "big") for each in (numbers.x, numbers.y))
        attested = b"".join(
            (bytes(16), len(self.credential_id).to_bytes(2, "big"), self.credential_id,
             cbor2.dumps(changes.get("cose", {1: 2, 3: -7, -1: 1, -2: x, -3: y})))
        )  # fmt: skip
        content = {
            "fmt": changes.get("fmt", "none"),
            "attStmt": changes.get("statement", {}),
            "authData": self._said(ATTESTED) + attested,
        }
        response = {
            "clientDataJSON": b64(self._client_data("webauthn.create", options["challenge"])),
            "attestationObject": b64(cbor2.dumps(content)),
        }
        return self._credential(response)

    def show(self, options: dict[str, Any]) -> str:
        """Answer to options of showing one, as JSON."""
        self.count += self.step
        client_data, said = self._client_data("webauthn.get", options["challenge"]), self._said()
        signature = self.key.sign(said + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": b64(client_data),
            "authenticatorData": b64(said),
            "signature": b64(signature),
            "userHandle": self.handle,
        }
        return self._credential(response)

    def _client_data(self, kind: str, challenge: str) -> bytes:
        content = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": self.in_frame}
        return json.dumps(content).encode()

    def _said(self, more: int = 0) -> bytes:
        flags = bytes([self.flags | more])
        return hashlib.sha256(self.rp_id.encode()).digest() + flags + self.count.to_bytes(4, "big")

    def _credential(self, response: dict[str, Any]) -> str:
        return json.dumps(
            {"id": b64(self.credential_id), "rawId": b64(self.credential_id), "type": "public-key",
             "clientExtensionResults": {}, "response": response}
        )  # fmt: skip
