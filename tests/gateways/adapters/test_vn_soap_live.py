"""Real SOAP clients read our description and call it. Each runs where it is; none is a dependency of ours."""

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.portal import Portal

HERE = Path(__file__).parent
TEXTS = {"9001": "VNN 5", "9002": "VNN ủng hộ & <bà con>", "9003": "VNN \N{FULLWIDTH DIGIT TWO}"}
CALLS = [(native_id, text) for native_id, text in TEXTS.items() for _ in range(2)]
OTHERS = {
    "node": (("node", "-e", "require('soap')"), ("node", "soap_client.js")),
    "php": (("php", "-r", "exit(class_exists('SoapClient') ? 0 : 1);"), ("php", "soap_client.php")),
}
"""Of another language: what tells whether its library is there, and its client."""


async def test_what_zeep_makes_of_our_description_is_understood_and_answered(portal: Portal) -> None:
    zeep = pytest.importorskip("zeep")
    address = f"{portal.base}/gw/vn_soap_mo/soap"

    def called() -> list[str]:
        transport = zeep.Transport(timeout=10)
        transport.session.auth = ("portal", "a-password-for-tests")
        client = zeep.Client(f"{address}?wsdl", transport=transport)
        (binding,) = client.wsdl.bindings
        # The description names the https address of a proxy, which is not here.
        service = client.create_service(binding, address)
        values = {"UserID": "84950000001", "ServiceID": "1408", "CommandCode": "VNN", "Operator": "VMS"}
        return [service.GetMOData(**values, Content=text, RequestID=native_id) for native_id, text in CALLS]

    await require_understood(portal, await asyncio.to_thread(called))


def is_there(probe: Sequence[str]) -> bool:
    """Whether a language and its SOAP library are there."""
    found = shutil.which(probe[0]) is not None
    return found and subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", OTHERS)
async def test_what_clients_of_other_languages_make_of_it_is_understood_too(portal: Portal, name: str) -> None:
    probe, client = OTHERS[name]
    if not is_there(probe):
        pytest.skip(f"{name} has no SOAP library here")
    asked = "".join(f"{native_id}\t{text}\n" for native_id, text in CALLS)
    process = await asyncio.create_subprocess_exec(
        *client, f"{portal.base}/gw/vn_soap_mo/soap", cwd=HERE, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complaint = await process.communicate(asked.encode())
    assert process.returncode == 0, complaint.decode()
    await require_understood(portal, said.decode().splitlines())


async def require_understood(portal: Portal, answers: Sequence[str]) -> None:
    """Each gift once, its repeat answered alike."""
    assert [answer.partition("|")[0] for answer in answers] == ["0", "0", "1", "1", "0", "0"]
    rows = await portal.fetch("SELECT native_id, reading, units, carrier FROM message ORDER BY native_id")
    assert [tuple(row) for row in rows] == [
        ("9001", "counted", 5, "mobifone"),
        ("9002", "wrong_syntax", None, "mobifone"),
        ("9003", "counted", 2, "mobifone"),
    ]
