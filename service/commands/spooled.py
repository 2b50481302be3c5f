"""Whether acknowledged callbacks wait for the database on this machine: what the database says is not all then."""

import asyncio

from service.commands.running import running_workers
from service.intake.spool_claim import waiting_in
from service.runtime.settings import Settings


async def spooled(settings: Settings) -> list[str]:
    """A sentence for each place of this machine where callbacks wait in a spool, or may.

    The files say so themselves, also those of workers that are gone or do not answer. Where they say nothing, workers
    are asked: theirs may be another data folder than this command's.
    """
    if waiting := await asyncio.to_thread(waiting_in, settings.data_dir / "spool"):
        return waiting
    workers = await running_workers(settings)
    told = [
        f"worker {worker.index}: {each}"
        for worker in workers
        for each in worker.degraded
        if "wait in the spool" in each
    ]
    return told + [
        f"worker {worker.index} does not answer, and whether callbacks wait in the spool of it is not known"
        for worker in workers
        if worker.is_silent
    ]
