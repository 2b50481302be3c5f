"""`oneapi_sms`: OMA RESTful NetAPI and GSMA OneAPI, as operators notify of messages and of charges.

Settings: `path_secret` (OneAPI leaves credentials open: with the network list it makes the two factors),
`without_ids` (must be true for operators that send no `messageId`: an id is then derived from number, code, time and
text, so that two equal messages of one moment are one), `message_reference` (which field of an `amountTransaction` is
the `messageId` of the donor's message: `referenceCode` or `clientCorrelator`; without it charges are malformed, for
they could never be joined with a gift). Callback: POST of JSON up to 64 KiB: one message, a list of 1 to 100, all of
which are stored or none, or one `amountTransaction`.

Limits: `deliveryInfoNotification` is malformed: it speaks of no gift. How often an operator tries again is not
standardised.

Source: GSMA OneAPI 2 and 3, "SMS" and "Payment"; OMA-TS-REST_NetAPI_Messaging 1.0; list form as Globe Labs sends it.
"""

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from gateways.account import AccountSettings
from gateways.callback import Callback
from gateways.events import Charge, ChargeStatus, Event, Message, Reversal
from gateways.gateway import Gateway
from gateways.outcome import Answer, Result
from gateways.wire import fields
from gateways.wire.digest import id_without_one, keyed_digest
from gateways.wire.statuses import status_alone
from gateways.wire.strict_json import fault_of, require_json, require_member, require_object, require_short

MESSAGES_MAX = 100
UNKNOWN_STATUS = "unknown_status"
"""The flag of a charge whose status is no word of the standard: it counts as under way."""

_NOTIFICATION, _LIST, _TRANSACTION = "inboundSMSMessageNotification", "inboundSMSMessageList", "amountTransaction"
_MESSAGE = "inboundSMSMessage"
_REFUNDED = "Refunded"
_STATUSES: dict[str, ChargeStatus] = {
    "Charged": ChargeStatus.SUCCEEDED,
    "Reserved": ChargeStatus.RESERVED,
    "Processing": ChargeStatus.PENDING,
    "Denied": ChargeStatus.FAILED,
}
_AMOUNT = re.compile(r"([0-9]{1,13})(?:\.0{1,4})?")


class OneApiSmsSettings(AccountSettings):
    """The keys of a `oneapi_sms` account."""

    without_ids: bool = False
    message_reference: Literal["referenceCode", "clientCorrelator"] | None = None


class OneApiSms(Gateway[OneApiSmsSettings]):
    """One operator that notifies us."""

    name: ClassVar[str] = "oneapi_sms"
    settings_model: ClassVar[type[AccountSettings]] = OneApiSmsSettings
    reports_charges: ClassVar[bool] = True
    tells_message_time: ClassVar[bool] = True

    def verify(self, callback: Callback) -> None:
        """Nothing: the protocol's factors are the path and the source, which `open` checks."""

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """The messages in their order, or one charge or reversal; one malformed message refuses the whole list."""
        fields.require_plain_body(callback.headers)
        document = require_object("body", require_json(callback.body))
        if len({_TRANSACTION, _NOTIFICATION, _LIST} & document.keys()) > 1:
            fields.malformed("body", "holds more than one notification")
        if _TRANSACTION in document:
            return (self._transaction(require_object(_TRANSACTION, document[_TRANSACTION]), digest_key),)
        if _NOTIFICATION in document:
            path = f"{_NOTIFICATION}.{_MESSAGE}"
            one = require_object(_NOTIFICATION, document[_NOTIFICATION]).get(_MESSAGE)
            return (self._message(path, require_object(path, one), 0, callback, digest_key),)
        if _LIST not in document:
            fields.malformed("body", "holds no message and no amountTransaction")
        path = f"{_LIST}.{_MESSAGE}"
        listed = require_object(_LIST, document[_LIST]).get(_MESSAGE)
        if not isinstance(listed, list) or not 1 <= len(listed) <= MESSAGES_MAX:
            fields.malformed(path, f"must be a list of 1 to {MESSAGES_MAX} messages")
        return tuple(
            self._message(f"{path}.{place}", require_object(f"{path}.{place}", each), place, callback, digest_key)
            for place, each in enumerate(listed)
        )

    def respond(self, result: Result) -> Answer:
        """Always empty; the status alone speaks."""
        return status_alone(result)

    def _message(
        self, path: str, said: Mapping[str, object], place: int, callback: Callback, digest_key: bytes
    ) -> Message:
        flags: list[str] = []
        msisdn = _msisdn(path, said, "senderAddress")
        short_code = fields.require_short_code(
            f"{path}.destinationAddress", require_member(path, said, "destinationAddress")
        )
        text = said.get("message")
        if not isinstance(text, str):
            fields.malformed(f"{path}.message", fault_of(text, "is not a string"))
        written = fields.optional(require_short, f"{path}.dateTime", said.get("dateTime") or None, flags)
        message_at = fields.optional(fields.require_time, f"{path}.dateTime", written, flags)
        if said.get("messageId") not in (None, "") or not self.settings.without_ids:
            native_id = require_member(path, said, "messageId")
        else:
            at = written if message_at is not None else None
            told = (msisdn, short_code, text)
            native_id = id_without_one(digest_key, self.account.code, told, at, callback.received_at, flags, place)
        kept, kept_flags = fields.storable_text(text)
        return Message(
            native_id=native_id,
            digest=keyed_digest(digest_key, "message", msisdn, short_code, text, message_at),
            msisdn=msisdn,
            short_code=short_code,
            text=kept,
            carrier=self.carrier_of(None),
            message_at=message_at,
            operator_time=written if message_at else None,
            flags=tuple(dict.fromkeys((*kept_flags, *flags))),
        )

    def _transaction(self, said: Mapping[str, object], digest_key: bytes) -> Event:
        charge_id = require_member(_TRANSACTION, said, "serverReferenceCode")
        status = require_member(_TRANSACTION, said, "transactionOperationStatus")
        amount_vnd = _amount(said)
        if self.settings.message_reference is None:
            fields.malformed(_TRANSACTION, "names no message: the account has no message_reference")
        message_ref = require_member(_TRANSACTION, said, self.settings.message_reference)
        native_id = fields.require_short_field(f"{_TRANSACTION}.serverReferenceCode", f"{charge_id}:{status}")
        if status == _REFUNDED:
            return Reversal(
                native_id=native_id,
                digest=keyed_digest(digest_key, "reversal", amount_vnd, message_ref),
                amount_vnd=amount_vnd,
                message_ref=message_ref,
            )
        known = _STATUSES.get(status)
        return Charge(
            native_id=native_id,
            digest=keyed_digest(digest_key, "charge", amount_vnd, message_ref),
            charge_id=charge_id,
            status=known or ChargeStatus.PENDING,
            amount_vnd=amount_vnd,
            message_ref=message_ref,
            flags=() if known else (UNKNOWN_STATUS,),
        )


def _amount(said: Mapping[str, object]) -> int:
    """Whole dong: the standard's decimal text, or a JSON integer."""
    path = f"{_TRANSACTION}.paymentAmount"
    charged = require_object(
        f"{path}.chargingInformation", require_object(path, said.get("paymentAmount")).get("chargingInformation")
    )
    path = f"{path}.chargingInformation"
    if require_member(path, charged, "currency") != "VND":
        fields.malformed(f"{path}.currency", "is not VND")
    amount = charged.get("amount")
    written = str(amount) if type(amount) is int else require_member(path, charged, "amount")
    whole = _AMOUNT.fullmatch(written)
    if whole is None or int(whole[1]) > fields.AMOUNT_VND_MAX:
        fields.malformed(f"{path}.amount", "is not a whole number of VND within the limit")
    return int(whole[1])


def _msisdn(path: str, said: Mapping[str, object], name: str) -> str:
    number = require_member(path, said, name)
    return fields.require_msisdn(f"{path}.{name}", number[4:] if number[:4].lower() == "tel:" else number)
