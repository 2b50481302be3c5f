"""Dialects for tests: of hubs that there are not, and of protocols that have adapters of their own."""

import copy
import hmac
from typing import Any

from gateways.outcome import Answer, Outcome
from gateways.wire.donor_reply import REPLY_TEXT

EXAMPLE_SECRET = "a-secret-of-the-example"
MEANS = {"id": "900000001", "msisdn": "84950000001", "short_code": "1408", "text": "VNN 5"}

JSON_BODY = (
    '{"partner":"portal","kind":"mo","sms":{"ref":"900000001","from":"+84950000001","to":"1408","net":"VTL",'
    '"at":1795249800,"parts":[{"body":"VNN 5"}]}}'
)
JSON: dict[str, Any] = {
    "format": "json",
    "fields": {
        "id": "sms.ref", "msisdn": "sms.from", "short_code": "sms.to", "text": "sms.parts.0.body",
        "carrier": "sms.net", "time": "sms.at",
    },
    "time_format": "epoch",
    "signature": {
        "place": "header:X-Sao-Mai", "kind": "hmac", "hash": "sha256", "encoding": "hex", "prefix": "v1=",
        "parts": ["header:X-Sent", "text:.", "body"],
    },
    "ours": {"partner": "portal"},
    "allowed": {"kind": ["mo", "mo-again"]},
    "answers": {
        "accepted": {"body": '{"ok":true,"ref":"{id}"}', "content_type": "application/json"},
        "conflict": {"status": 409, "body": '{"ok":false}', "content_type": "application/json"},
        "malformed": {"status": 422, "body": '{"ok":false}', "content_type": "application/json"},
    },
    "example": {
        "headers": {
            "X-Sent": "1795249801",
            "X-Sao-Mai": "v1="
            + hmac.digest(EXAMPLE_SECRET.encode(), f"1795249801.{JSON_BODY}".encode(), "sha256").hex(),
        },
        "body": JSON_BODY,
        "secret": EXAMPLE_SECRET,
        "means": {**MEANS, "carrier": "viettel", "at": "2026-11-21T15:30:00+07:00"},
    },
}  # fmt: skip

QUERY: dict[str, Any] = {
    "format": "query",
    "fields": {"id": "ref", "msisdn": "from", "short_code": "to", "text": "body", "time": "at"},
    "time_format": "compact",
    "signature": {
        "place": "sign", "kind": "plain", "hash": "md5",
        "parts": ["field:ref", "text:|", "field:from", "text:|", "field:to", "text:|", "field:body", "secret"],
    },
    "answers": {"accepted": {"body": "OK"}},
    "example": {
        "query": "ref=900000001&from=84950000001&to=1408&body=VNN+5&at=20261121153000"
        "&sign=614ab31d105e7a9a1e75a48199567282",
        "secret": EXAMPLE_SECRET,
        "means": {**MEANS, "at": "2026-11-21T15:30:00+07:00"},
    },
}  # fmt: skip

XML: dict[str, Any] = {
    "format": "xml",
    "fields": {
        "id": "head.ref", "msisdn": "sms.from", "short_code": "sms.to", "text": "sms.body", "carrier": "sms.net",
    },
    "text_form": "base64",
    "signature": {"place": "header:Authorization", "kind": "token", "prefix": "Bearer "},
    "answers": {
        "accepted": {"body": "<a><ref>{id}</ref></a>", "content_type": "text/xml; charset=utf-8"},
        "not_counted": {"body": "<refund/>", "content_type": "text/xml; charset=utf-8"},
    },
    "example": {
        "headers": {"Authorization": f"Bearer {EXAMPLE_SECRET}"},
        "body": "<m:mo xmlns:m='urn:sao-mai'><m:head><m:ref>900000001</m:ref></m:head><m:sms>"
        "<m:from>84950000001</m:from><m:to>1408</m:to><m:net>VTL</m:net><m:body>Vk5OIDU=</m:body></m:sms></m:mo>",
        "secret": EXAMPLE_SECRET,
        "means": {**MEANS, "carrier": "viettel"},
    },
}  # fmt: skip

VCOM: dict[str, Any] = {
    "format": "json",
    "fields": {
        "id": "request_id", "msisdn": "phone", "short_code": "service_id", "text": "message", "carrier": "telco",
        "time": "time",
    },
    "time_format": "epoch",
    "signature": {
        "place": "checksum", "kind": "plain", "hash": "sha256", "encoding": "base64",
        "parts": ["field:client_id", "field:request_id", "field:phone", "secret", "field:time"],
    },
    "ours": {"client_id": "demo-cp"},
    "allowed": {"type": ["new", "recovery"]},
    "answers": {
        "accepted": {
            "body": '{"data":{"code":200,"status":"success","message":""}}', "content_type": "application/json",
        },
        "conflict": {
            "body": '{"errors":{"code":104,"message":"request_id exists with another content"}}',
            "content_type": "application/json",
        },
        "malformed": {
            "status": 200, "body": '{"errors":{"code":106,"message":"invalid parameter"}}',
            "content_type": "application/json",
        },
    },
    "example": {
        "body": '{"type":"new","client_id":"demo-cp","request_id":"900000001","service_id":"1408",'
        '"command_code":"VNN","message":"VNN 5","telco":"VT","phone":"84950000001","time":1763712000,'
        '"checksum":"I4uFg8DSCHaNb2RssJfB0gTLH9LbZBDHw99jeuFU98s="}',
        "secret": "test-secure-key",
        "means": {**MEANS, "carrier": "viettel", "at": "2025-11-21T15:00:00+07:00"},
    },
}  # fmt: skip

ONEPAY_TAKEN = {
    "body": '{"status":1,"sms":"' + REPLY_TEXT + '","type":"text"}',
    "content_type": "application/json",
}
ONEPAY_ANSWERS: dict[str, Any] = {
    "accepted": ONEPAY_TAKEN,
    "malformed": {"status": 400, "content_type": "text/plain"},
    "malformed_with_id": ONEPAY_TAKEN,
}
ONEPAY_SMS: dict[str, Any] = {
    "format": "query",
    "fields": {
        "id": "request_id", "msisdn": "msisdn", "short_code": "short_code", "text": "mo_message",
        "time": "request_time",
    },
    "signature": {
        "place": "signature", "kind": "hmac", "hash": "sha256",
        "parts": [
            "text:access_key=", "field:access_key", "text:&command=", "field:command", "text:&mo_message=",
            "field:mo_message", "text:&msisdn=", "field:msisdn", "text:&request_id=", "field:request_id",
            "text:&request_time=", "field:request_time", "text:&short_code=", "field:short_code",
        ],
    },
    "ours": {"access_key": "ak_test"},
    "answers": ONEPAY_ANSWERS,
    "example": {
        "query": "access_key=ak_test&command=VNN&mo_message=VNN+5&msisdn=84950000001&request_id=r-0001"
        "&request_time=2026-11-21T15:30:00Z&short_code=1408"
        "&signature=5bc8ac97cefbb1f770a7a7a44bbaa29dbd260854397342fe6f2072e52fb7b5fb",
        "secret": "test-secret",
        "means": {**MEANS, "id": "r-0001", "at": "2026-11-21T15:30:00Z"},
    },
}  # fmt: skip
ONEPAY_SMSPLUS: dict[str, Any] = {
    "format": "query",
    "fields": {"id": "request_id", "msisdn": "msisdn", "text": "mo_message", "time": "request_time"},
    "short_code": "1408",
    "charge": {
        "status": "error_code", "succeeded": ["OK"], "otherwise": "failed", "reason": "error_code",
        "amount": "amount",
    },
    "signature": {
        "place": "signature", "kind": "hmac", "hash": "sha256",
        "parts": [
            "text:access_key=", "field:access_key", "text:&amount=", "field:amount", "text:&command_code=",
            "field:command_code", "text:&error_code=", "field:error_code", "text:&error_message=",
            "field:error_message", "text:&mo_message=", "field:mo_message", "text:&msisdn=", "field:msisdn",
            "text:&request_id=", "field:request_id", "text:&request_time=", "field:request_time",
        ],
    },
    "question": {
        "without": ["request_id", "error_code"],
        "parts": [
            "text:access_key=", "field:access_key", "text:&amount=", "field:amount", "text:&command_code=",
            "field:command_code", "text:&mo_message=", "field:mo_message", "text:&msisdn=", "field:msisdn",
            "text:&telco=", "field:telco",
        ],
        "example": {
            "query": "access_key=ak_test&amount=20000&command_code=VNN&mo_message=VNN+5&msisdn=84950000001&telco=vtm"
            "&signature=7386fe48ae8bfcb4df6d0d2d5a725ed0503614547f195d0657002f48f61688d7",
        },
    },
    "ours": {"access_key": "ak_test"},
    "answers": ONEPAY_ANSWERS,
    "example": {
        "query": "access_key=ak_test&amount=20000&command_code=VNN&error_code=OK&error_message=done"
        "&mo_message=VNN+5&msisdn=84950000001&request_id=r-0002&request_time=2026-11-21T15:30:05Z"
        "&signature=a196b5e57d28a664e1d34c77da644b9a1f8b7a15da091007fcfc1b1f164c9fc2",
        "secret": "test-secret",
        "means": {
            **MEANS, "id": "r-0002", "at": "2026-11-21T15:30:05Z", "charge": "succeeded", "amount_vnd": 20_000,
        },
    },
}  # fmt: skip
"""Both its calls: the first only asks."""

APPOTA: dict[str, Any] = {
    "format": "form",
    "fields": {"id": "transaction_id", "msisdn": "phone", "short_code": "code", "text": "message"},
    "charge": {"status": "status", "succeeded": ["1"], "failed": ["0"], "amount": "amount"},
    "signature": {"place": "hash", "kind": "plain", "hash": "md5", "parts": ["sorted", "secret"]},
    "allowed": {"sandbox": ["0", "1"], "transaction_type": ["SMS"], "currency": ["VND"]},
    "trial": {"sandbox": ["1"]},
    "answers": {
        "accepted": {"content_type": "text/plain"},
        "malformed": {"status": 400, "content_type": "text/plain"},
    },
    "example": {
        "body": "status=1&sandbox=0&transaction_id=TX0001&transaction_type=SMS&phone=84950000001&message=VNN+5"
        "&code=1408&amount=100000&currency=VND&state=camp-7&target=&country_code=VN"
        "&hash=5c69fca49addced379f6dab8900879b7",
        "secret": "test-client-secret",
        "means": {**MEANS, "id": "TX0001", "charge": "succeeded", "amount_vnd": 100_000},
    },
}  # fmt: skip

SECRET = "a-secret-of-the-account"
EMPTY = {status: Answer(status, b"", "text/plain") for status in (403, 413)}
FIXED: dict[Outcome, Answer] = {
    Outcome.UNAUTHENTICATED: EMPTY[403],
    Outcome.STALE: EMPTY[403],
    Outcome.TOO_LARGE: EMPTY[413],
    Outcome.OVERLOADED: Answer(503, b"", "text/plain", (("retry-after", "5"),)),
    Outcome.UNAVAILABLE: Answer(503, b"", "text/plain", (("retry-after", "5"),)),
}


def settings(dialect: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An account's keys."""
    return {"dialect": dialect, "secrets": [SECRET], "carriers": {"VTL": "viettel", "VT": "viettel"}, **more}


def altered(dialect: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A dialect with another value at a path; None takes it away."""
    copied = copy.deepcopy(dialect)
    *steps, last = path.split(".")
    inner = copied
    for step in steps:
        inner = inner[step]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return copied
