"""SOAP 1.1 as hubs speak it: an operation's elements in, a result, a fault or a description out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from gateways.outcome import FieldError
from gateways.wire.fields import malformed
from gateways.wire.xml import local_name, only_child, require_xml

CONTENT_TYPE = "text/xml; charset=utf-8"

_FAULT_ERRORS_MAX = 5

_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'
_ENVELOPE_NAMESPACE = "http://schemas.xmlsoap.org/soap/envelope/"
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One remote call: its element, the elements in it, and the one that carries the answer.

    `is_rpc`: rpc/encoded, where parameters stand in no namespace; else document/literal.
    """

    name: str
    fields: tuple[str, ...]
    result: str
    namespace: str
    is_rpc: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was read: the element of the operation, and the header's if there is one."""

    operation: Element
    header: Element | None
    is_repaired: bool


def require_call(body: bytes) -> Call:
    """The operation in a SOAP envelope, whatever namespaces it uses. Raises MalformedCallback."""
    envelope, is_repaired = require_xml(body)
    if local_name(envelope) != "Envelope":
        malformed("body", "is not a SOAP envelope")
    content = only_child("body.Envelope.Body", envelope, "Body")
    if content is None or len(content) != 1:
        malformed("body.Envelope", "does not hold a Body with one operation")
    return Call(content[0], only_child("body.Envelope.Header", envelope, "Header"), is_repaired)


def result(operation: Operation, value: str) -> bytes:
    """The answer to a call.

    Senders cut the value out between the literal tags, or look for `>1<` anywhere in the answer: so the tag
    has no prefix and no attribute, and no other element holds text.
    """
    inner = f"<{operation.result}>{escape(value)}</{operation.result}>"
    response = f"{operation.name}Response"
    if operation.is_rpc:
        content = f'<ns:{response} xmlns:ns="{operation.namespace}">{inner}</ns:{response}>'
    else:
        content = f'<{response} xmlns="{operation.namespace}">{inner}</{response}>'
    return _envelope(content)


def acknowledgement(name: str, namespace: str) -> bytes:
    """The answer of an operation that returns nothing."""
    return _envelope(f'<{name} xmlns="{namespace}"/>')


def fault(code: str, sentence: str, errors: Sequence[FieldError] = ()) -> bytes:
    """A fault; `code` is Client (theirs) or Server (ours), `errors` say what is wrong. SOAP 1.1, section 4.4."""
    where = (f"{error.path} {error.reason}" for error in errors[:_FAULT_ERRORS_MAX])
    told = escape("; ".join((sentence, *where)))
    words = f"<faultcode>soap:{code}</faultcode><faultstring>{told}</faultstring>"
    return _envelope(f"<soap:Fault>{words}</soap:Fault>")


def _envelope(content: str) -> bytes:
    envelope = f'<soap:Envelope xmlns:soap="{_ENVELOPE_NAMESPACE}"><soap:Body>{content}</soap:Body></soap:Envelope>'
    return (_DECLARATION + envelope).encode()


def location(public_url: str, host: str, path: str) -> str:
    """The address a description names: below `public_url`, else at the `host` that was asked, if it can be one."""
    if public_url:
        return public_url + path
    return f"https://{host}{path}" if _HOST.fullmatch(host) else path


def describe(operation: Operation, address: str) -> bytes:
    """The WSDL 1.1 of a service with this one operation. All values are strings."""
    name, style = operation.name, "rpc" if operation.is_rpc else "document"
    types = "" if operation.is_rpc else _types(operation)
    use = f'use="encoded" namespace="{operation.namespace}"' if operation.is_rpc else 'use="literal"'
    if operation.is_rpc:
        use += ' encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"'
        asked = "".join(f'<part name="{field}" type="xsd:string"/>' for field in operation.fields)
        answered = f'<part name="{operation.result}" type="xsd:string"/>'
    else:
        asked = f'<part name="parameters" element="tns:{name}"/>'
        answered = f'<part name="parameters" element="tns:{name}Response"/>'
    return (
        f'{_DECLARATION}<definitions name="{name}" targetNamespace="{operation.namespace}"'
        f' xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:tns="{operation.namespace}"'
        ' xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
        f'{types}<message name="{name}Request">{asked}</message>'
        f'<message name="{name}Answer">{answered}</message>'
        f'<portType name="{name}Port"><operation name="{name}"><input message="tns:{name}Request"/>'
        f'<output message="tns:{name}Answer"/></operation></portType>'
        f'<binding name="{name}Binding" type="tns:{name}Port">'
        f'<soap:binding style="{style}" transport="http://schemas.xmlsoap.org/soap/http"/>'
        f'<operation name="{name}"><soap:operation soapAction="{name}"/>'
        f"<input><soap:body {use}/></input><output><soap:body {use}/></output></operation></binding>"
        f'<service name="{name}Service"><port name="{name}Port" binding="tns:{name}Binding">'
        f'<soap:address location="{escape(address)}"/></port></service></definitions>'
    ).encode()


def _types(operation: Operation) -> str:
    return (
        f'<types><xsd:schema targetNamespace="{operation.namespace}" elementFormDefault="qualified">'
        f"{_element(operation.name, operation.fields)}"
        f"{_element(f'{operation.name}Response', (operation.result,))}</xsd:schema></types>"
    )


def _element(name: str, children: Sequence[str]) -> str:
    inner = "".join(f'<xsd:element name="{child}" type="xsd:string" minOccurs="0"/>' for child in children)
    sequence = f"<xsd:complexType><xsd:sequence>{inner}</xsd:sequence></xsd:complexType>"
    return f'<xsd:element name="{name}">{sequence}</xsd:element>'
