"""Gateway tables for the simulator's tests, and the links they make."""

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from service.simulator.links import Link, links_of
from tests.support.portal import SIGNING_SECRET

IN_2019 = datetime.fromisoformat("2019-10-17T20:05:00+07:00")
NOW = datetime(2026, 11, 21, 13, 0, tzinfo=UTC)
SECRET = SIGNING_SECRET
PEER = ip_address("127.0.0.1")
COMMON: dict[str, Any] = {"charging": "on_message", "networks": ["127.0.0.0/8"]}
STANDARD = {"code": "hub", "adapter": "standard", "carrier": "viettel", "secrets": [SECRET], **COMMON}
KANNEL = {
    "code": "kan", "adapter": "kannel", "carrier": "from_message", "path_secret": "a-path-secret",
    "carriers": {"vnp1": "vinaphone", "vms1": "mobifone"}, **COMMON,
}  # fmt: skip
SOAP = {
    "code": "soap", "adapter": "vn_soap_mo", "carrier": "from_message", "dialect": "receiverMO",
    "user": "portal", "password": "a-password-for-tests", **COMMON,
}  # fmt: skip


def links(*gateways: Mapping[str, Any]) -> tuple[Link, ...]:
    """The links of gateway tables, seen from this machine."""
    return links_of(gateways, (), {}, (PEER,))[0]
