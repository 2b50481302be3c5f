"""Accounts of the hubs' protocols, for tests that go over them with the senders of the registry."""

from collections.abc import Mapping
from typing import Any

HUB_ACCOUNTS: dict[str, Mapping[str, Any]] = {
    "esms_get": {"cpid": "CP01", "secrets": ["hub-secret-new", "hub-secret-old"]},
    "vcom_json": {"client_id": "demo-cp", "secrets": ["hub-secret-new", "hub-secret-old"]},
    "vn_http_get": {"dialect": "ddviet", "path_secret": ["hub-secret-new", "hub-secret-old"]},
}
"""The keys of an account of each protocol; its secret is the only list."""
