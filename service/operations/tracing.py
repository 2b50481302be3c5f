"""Whether traces are kept, and what is wrapped for it. OpenTelemetry is imported only when it is wanted."""

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from service.intake.assembly import AS_THEY_ARE, Wrapped
from service.intake.traced import TracedIntake, TracedWriter
from service.live.traced import Following
from service.runtime.refusals import Refused
from service.runtime.settings import PREFIX, Settings

if TYPE_CHECKING:
    from service.runtime.traces import Traces


class Tracing(NamedTuple):
    """What the parts of a worker are made with."""

    wrapped: Wrapped
    following: Following | None
    traces: "Traces | None"

    async def stop(self) -> None:
        """Send what waits."""
        if self.traces is not None:
            await self.traces.stop()


NONE = Tracing(AS_THEY_ARE, None, None)


def make_tracing(settings: Settings) -> Tracing:
    """NONE without an endpoint. Raises Refused where this release was installed without the extra."""
    if settings.traces_endpoint is None:
        return NONE
    try:
        from service.runtime.traces import Traces
    except ModuleNotFoundError as missing:
        if missing.name is None or not missing.name.startswith("opentelemetry"):
            raise
        raise Refused(
            f"{PREFIX}TRACES_ENDPOINT is set, and this release has no OpenTelemetry: install it by `make install "
            "WITH=otel`, or take the setting away"
        ) from None
    traces = Traces(settings.traces_endpoint, settings.traces_share)
    following = Following(traces)
    return Tracing(Wrapped(TracedWriter, partial(TracedIntake, traces, following)), following, traces)
