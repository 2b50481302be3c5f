"""The protocols we speak, each with the sender that is its other side: one row each, and what follows from it."""

from collections.abc import Mapping
from typing import Any, Final

from gateways.account import Account
from gateways.adapters.appota_ipn import AppotaIpn
from gateways.adapters.camara_billing import CamaraBilling
from gateways.adapters.esms_get import EsmsGet
from gateways.adapters.generic.adapter import Generic
from gateways.adapters.jasmin import Jasmin
from gateways.adapters.kannel import Kannel
from gateways.adapters.oneapi_sms import OneApiSms
from gateways.adapters.onepay import Onepay
from gateways.adapters.parlayx_sms import ParlayXSms
from gateways.adapters.standard.adapter import Standard
from gateways.adapters.vascloud import Vascloud
from gateways.adapters.vcom_json import VcomJson
from gateways.adapters.vn_http_get import VnHttpGet
from gateways.adapters.vn_soap_mo.adapter import VnSoapMo
from gateways.gateway import Gateway
from gateways.replier import Replier
from gateways.repliers.jasmin import JasminReplier
from gateways.repliers.kannel import KannelReplier
from gateways.repliers.vcom_json import VcomJsonReplier
from gateways.repliers.vn_soap_mo import VnSoapMoReplier
from gateways.sender import Sender
from gateways.senders.appota_ipn import AppotaIpnSender
from gateways.senders.camara_billing import CamaraBillingSender
from gateways.senders.esms_get import EsmsGetSender
from gateways.senders.generic import GenericSender
from gateways.senders.jasmin import JasminSender
from gateways.senders.kannel import KannelSender
from gateways.senders.oneapi_sms import OneApiSmsSender
from gateways.senders.onepay import OnepaySender
from gateways.senders.parlayx_sms import ParlayXSmsSender
from gateways.senders.standard import StandardSender
from gateways.senders.vascloud import VascloudSender
from gateways.senders.vcom_json import VcomJsonSender
from gateways.senders.vn_http_get import VnHttpGetSender
from gateways.senders.vn_soap_mo import VnSoapMoSender

REPLIERS: Final[Mapping[str, type[Replier[Any]]]] = {
    replier.name: replier for replier in (KannelReplier, JasminReplier, VcomJsonReplier, VnSoapMoReplier)
}
"""The protocols whose replies a call of ours carries."""

_PROTOCOLS: Final[tuple[tuple[type[Gateway[Any]], type[Sender[Any]]], ...]] = (
    (Standard, StandardSender),
    (Kannel, KannelSender),
    (Jasmin, JasminSender),
    (EsmsGet, EsmsGetSender),
    (VcomJson, VcomJsonSender),
    (VnHttpGet, VnHttpGetSender),
    (OneApiSms, OneApiSmsSender),
    (Onepay, OnepaySender),
    (AppotaIpn, AppotaIpnSender),
    (ParlayXSms, ParlayXSmsSender),
    (CamaraBilling, CamaraBillingSender),
    (Generic, GenericSender),
    (Vascloud, VascloudSender),
    (VnSoapMo, VnSoapMoSender),
)

ADAPTERS: Final[Mapping[str, type[Gateway[Any]]]] = {adapter.name: adapter for adapter, _ in _PROTOCOLS}
SENDERS: Final[Mapping[str, type[Sender[Any]]]] = {adapter.name: sender for adapter, sender in _PROTOCOLS}


def decoy(name: str) -> Gateway[Any]:
    """A gateway of protocol `name` that refuses everything, with the work a real one takes to refuse.

    It answers for accounts that do not exist, so that nobody can tell them from wrong credentials. Make it
    once and keep it. Raises KeyError for a protocol we do not speak.
    """
    adapter = ADAPTERS[name]
    settings = adapter.settings_model.model_validate(adapter.decoy_settings())
    return adapter(Account(code="unknown", carrier="unknown", networks=(), settings=settings))
