"""What the pages for carriers show: a protocol's account, and a callback that its engineer can copy."""

import re
import tomllib
from pathlib import Path
from typing import Any

from gateways.callback import Callback
from gateways.gateway import Gateway
from gateways.registry import ADAPTERS
from tests.gateways.calls import gateway, request

PAGES = Path(__file__).parents[2] / "docs" / "carriers"
COMMON_KEYS = {"code", "adapter", "carrier", "charging", "networks", "enabled", "test"}


def documented(name: str) -> tuple[Gateway[Any], Callback]:
    """The account of the page of protocol `name`, and the first callback of the page.

    The path secret is SECRET, as the page writes it; the other secrets are what the page says it signed with.
    """
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    (account,) = tomllib.loads(_block(page, "toml"))["gateway"]
    assert account["adapter"] == name
    own = {key: value for key, value in account.items() if key not in COMMON_KEYS}
    signed = re.search(r"signed with `([^`]+)`", page)
    for key in ADAPTERS[name].settings_model.SECRET_KEYS & own.keys():
        own[key] = ["SECRET"] if key == "path_secret" else [signed[1] if signed else ""]
    head, _, body = _block(page, "http").partition("\n\n")
    asked, *headers = head.strip().split("\n")
    method, _, address = asked.partition(" ")
    path, _, query = address.partition("?")
    steps = path.split("/")
    assert steps[1:4] == ["gw", name, account["code"]]
    told = request(
        method=method,
        query=query,
        headers=dict(line.split(": ", 1) for line in headers),
        body=body.strip().encode(),
        path_secret=steps[4] if len(steps) > 4 else None,
    )
    return gateway(name, own, carrier=account["carrier"]), told


def _block(page: str, language: str) -> str:
    return page[page.index(f"```{language}\n") + len(f"```{language}\n") :].partition("```")[0]
