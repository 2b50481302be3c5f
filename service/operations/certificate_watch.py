"""Until when the certificate is good that carriers and viewers meet at PORTAL1400_PUBLIC_URL."""

import asyncio
import ssl
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

import structlog

from metrics.families.operations import OperationsFamilies
from service.runtime.logs import describe_failure
from service.runtime.tasks import cancel_and_wait, repeat

log = structlog.get_logger("certificate")

FIRST_SECONDS = 30.0
"""The proxy in front may start after us."""
LOOK_SECONDS = 3600.0
ANSWER_SECONDS = 10.0
DAYS_MIN = 14
"""Whoever renews by himself does so a month before; less than this is told."""
DAY_SECONDS = 86_400


class CertificateWatch:
    """One task, for an address that begins with https; for another one nothing is done."""

    def __init__(self, public_url: str | None, families: OperationsFamilies) -> None:
        self._address = urlsplit(public_url) if public_url and public_url.startswith("https://") else None
        self._families = families
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to look, a little later."""
        if self._address is not None:
            self._tasks = [asyncio.create_task(self._begin(), name="certificate-first")]

    async def stop(self) -> None:
        """Look no more."""
        await cancel_and_wait(*self._tasks)

    def troubles(self) -> Iterable[str]:
        """A certificate that ends soon."""
        ends_at = self._families.certificate_expires_at
        if ends_at is not None and (days := (ends_at - time.time()) / DAY_SECONDS) < DAYS_MIN:
            yield (
                f"the certificate at PORTAL1400_PUBLIC_URL ends in {max(0, int(days))} days: see why it is not "
                "renewed, because carriers will hang up"
            )

    async def _begin(self) -> None:
        await asyncio.sleep(FIRST_SECONDS)
        self._tasks.append(repeat("certificate", self.look, (LOOK_SECONDS,), self._failed))

    async def look(self) -> None:
        """Meet it once. Raises OSError, TimeoutError, ValueError."""
        address = self._address
        if address is None or address.hostname is None:
            return
        async with asyncio.timeout(ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(
                address.hostname, address.port or 443, ssl=_accepting(), server_hostname=address.hostname
            )
            encoded = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
        # Loaded with the first certificate that is met.
        from cryptography import x509

        self._families.certificate_expires_at = x509.load_der_x509_certificate(
            encoded
        ).not_valid_after_utc.timestamp()

    def _failed(self, error: Exception, failures: int) -> None:
        if not failures:
            log.warning("certificate_not_seen", **describe_failure(error))


def _accepting() -> ssl.SSLContext:
    """Takes any certificate: one that is over is what we want to see, and nothing is sent."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
