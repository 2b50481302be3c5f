"""SOAP calls as a hub writes them."""

import base64
from typing import Any
from xml.sax.saxutils import escape

from gateways.callback import Callback
from gateways.events import Message
from gateways.gateway import Gateway
from tests.gateways.calls import KEY, request

USER = "hub-1"
PASSWORD = "mat-khau & <thu>"
SETTINGS: dict[str, Any] = {"dialect": "receiverMO", "user": USER, "password": PASSWORD}
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'
PLACES = {"id": "Request_ID", "msisdn": "User_ID", "short_code": "Service_ID", "text": "Message"}


def basic(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    """An HTTP Basic header (RFC 7617)."""
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def envelope(operation: str, elements: str, header: str = "") -> bytes:
    """A SOAP request around elements that are XML already."""
    return (
        f'{HEAD}<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">{header}<s:Body>'
        f'<{operation} xmlns="http://partner.example/">{elements}</{operation}></s:Body></s:Envelope>'
    ).encode()


def elements(fields: dict[str, str | None]) -> str:
    """Elements by name; None is left out."""
    return "".join(f"<{name}>{escape(text)}</{name}>" for name, text in fields.items() if text is not None)


def called(operation: str, inner: str, **more: Any) -> Callback:
    """A hub's request with Basic credentials."""
    return request(body=envelope(operation, inner), headers=basic(), **more)


def read(gateway: Gateway[Any], inner: str, operation: str = "receiverMO") -> Message:
    """The message in a call."""
    (event,) = gateway.open(called(operation, inner), KEY)
    assert isinstance(event, Message)
    return event


REST = "<User_ID>84950000001</User_ID><Service_ID>1408</Service_ID><Request_ID>7</Request_ID>"
