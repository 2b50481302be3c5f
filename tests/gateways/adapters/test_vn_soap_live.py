"""A real SOAP client reads our description and calls it. Runs where zeep is; it is no dependency of ours."""

import asyncio

import pytest

from tests.support.portal import Portal

zeep = pytest.importorskip("zeep")


async def test_what_zeep_makes_of_our_description_is_understood_and_answered(portal: Portal) -> None:
    address = f"{portal.base}/gw/vn_soap_mo/soap"

    def called() -> list[str]:
        transport = zeep.Transport(timeout=10)
        transport.session.auth = ("portal", "a-password-for-tests")
        client = zeep.Client(f"{address}?wsdl", transport=transport)
        (binding,) = client.wsdl.bindings
        # The description names the https address of a proxy, which is not here.
        service = client.create_service(binding, address)
        values = {"UserID": "84950000001", "ServiceID": "1408", "CommandCode": "VNN", "Operator": "VMS"}
        texts = {"9001": "VNN 5", "9002": "VNN ủng hộ & <bà con>", "9003": "VNN \N{FULLWIDTH DIGIT TWO}"}
        calls = [(native_id, text) for native_id, text in texts.items() for _ in range(2)]
        return [service.GetMOData(**values, Content=text, RequestID=native_id) for native_id, text in calls]

    answers = await asyncio.to_thread(called)
    assert [answer.partition("|")[0] for answer in answers] == ["0", "0", "1", "1", "0", "0"]
    rows = await portal.fetch("SELECT native_id, reading, units, carrier FROM message ORDER BY native_id")
    assert [tuple(row) for row in rows] == [
        ("9001", "counted", 5, "mobifone"),
        ("9002", "wrong_syntax", None, "mobifone"),
        ("9003", "counted", 2, "mobifone"),
    ]
