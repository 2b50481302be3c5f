"""Files that are made while they are sent: whole, or visibly cut off."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import structlog
from aiohttp import web

from service.desk.desk import HEADERS
from service.postgres.database import DATABASE_ERRORS
from service.runtime.logs import describe_failure

WRITE_SECONDS = 20.0
"""As long as whoever takes a file may take nothing of it: meanwhile the database keeps a snapshot for them, and
others wait for their turn."""
FILE_SECONDS = 1800.0

log = structlog.get_logger("desk")


def headers_of(media_type: str, file_name: str) -> dict[str, str]:
    """Of a file that the browser keeps and does not show. `file_name` is ASCII without quotes."""
    return {**HEADERS, "Content-Type": media_type, "Content-Disposition": f'attachment; filename="{file_name}"'}


async def send(request: web.Request, headers: Mapping[str, str], pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    """Send `pieces` as they come. What fails after the first byte cuts the connection off: half a file would be taken
    for all of it, and a page of ours in its middle for a part of it.
    """
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    is_whole = False
    try:
        async with asyncio.timeout(FILE_SECONDS):
            async for piece in pieces:
                async with asyncio.timeout(WRITE_SECONDS):
                    await response.write(piece)
            await response.write_eof()
        is_whole = True
    except (TimeoutError, *DATABASE_ERRORS) as error:
        # Whoever asked went away, or the database did.
        log.warning("desk_file_cut_off", **describe_failure(error))
    finally:
        if not is_whole and request.transport is not None:
            request.transport.abort()
    return response
