"""The dialects of the hub SOAP family, and how their senders spell the same six facts."""

from collections.abc import Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element

from gateways.events import Carrier
from gateways.wire import soap
from gateways.wire.fields import FIELD_LEFT_OUT, malformed
from gateways.wire.xml import local_name

_SIX = ("User_ID", "Service_ID", "Command_Code", "Message", "Request_ID", "Operator")
_OWN_NAMESPACE = "urn:portal1400:vn_soap_mo"

DIALECTS: dict[str, soap.Operation] = {
    "receiverMO": soap.Operation(
        name="receiverMO", fields=_SIX, result="receiverMOResult", namespace=_OWN_NAMESPACE, is_rpc=False
    ),
    "moReceiver": soap.Operation(
        name="moReceiver", fields=_SIX, result="moReceiverResult", namespace="Receiver", is_rpc=True
    ),
    "GetMOData": soap.Operation(
        name="GetMOData",
        fields=("UserID", "ServiceID", "CommandCode", "Content", "RequestID", "Operator"),
        result="GetMODataResult",
        namespace=_OWN_NAMESPACE,
        is_rpc=False,
    ),
}
SUCCESS_VALUES = {"receiverMO": "1", "moReceiver": "0", "GetMOData": "0|"}
OTHER_OPERATIONS = {"moReceiver": ("moReceiverStandard",)}
"""Operations that some senders call by another name and that are answered like the dialect's own."""

SPELLINGS: dict[str, tuple[str, ...]] = {
    "msisdn": ("User_ID", "src", "Sender", "mobilenumber", "Phone", "in0", "String_1"),
    "short_code": ("Service_ID", "PrefixId", "dest", "shortcode", "ServiceNumber", "ServiceNum", "in1", "String_2"),
    "keyword": ("Command_Code", "cmdcode", "CODE", "Syntax", "in2", "String_3"),
    "text": ("Message", "Content", "info", "MessageIn", "msgbody", "messcontent", "TextContent", "in3", "String_4"),
    "id": ("Request_ID", "moid", "MessageID", "in4", "String_5"),
    "operator": (
        "Operator",
        "Mobi_Operator",
        "Mobile_Operator",
        "opid",
        "operatorName",
        "TelcoId",
        "Telco",
        "in5",
        "String_6",
    ),
    "user": ("username",),
    "password": ("password",),
}
"""How senders spell a field, read without regard to case, `_` and namespace."""

OWN_CARRIERS: dict[str, Carrier] = {
    "gpc": "vinaphone",
    "vms": "mobifone",
    "vnm": "vietnamobile",
    "htc": "vietnamobile",
    "beeline": "gmobile",
}


def folded(name: str) -> str:
    """A name without what senders vary: case and `_`."""
    return name.replace("_", "").casefold()


_OPTIONAL = frozenset({"operator"})
_READ = frozenset({"id", "msisdn", "short_code", "text"}) | _OPTIONAL
"""What of a message is read; `keyword` repeats the text, and the credentials are another's affair."""

MEANINGS = {folded(spelling): meaning for meaning, names in SPELLINGS.items() for spelling in names}


class Meanings(NamedTuple):
    """What the elements of an operation mean, with their text as it is; and a flag where one could not be read."""

    values: dict[str, str]
    flags: tuple[str, ...]


def meanings(operation: Element, names: Mapping[str, str]) -> Meanings:
    """Read the elements of an operation. Raises MalformedCallback for one that a message is nothing without.

    `names` is how the dialect itself spells each meaning.
    """
    values: dict[str, str] = {}
    left_out: set[str] = set()
    for element in operation:
        meaning = MEANINGS.get(folded(local_name(element)))
        if meaning not in _READ:
            continue
        fault = "is given twice" if meaning in values else "holds elements instead of text" if len(element) else None
        if fault and meaning not in _OPTIONAL:
            malformed(names[meaning], fault)
        if fault:
            left_out.add(meaning)
        values[meaning] = element.text or ""
    kept = {meaning: text for meaning, text in values.items() if meaning not in left_out}
    return Meanings(kept, (FIELD_LEFT_OUT,) if left_out else ())
