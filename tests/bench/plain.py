"""The two services we measure ourselves against, each one process: an empty answer, and a sound plain design."""

import argparse
import asyncio
import base64
import hmac
import time
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, bindparam, insert, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import create_async_engine

METADATA = MetaData()
MESSAGES = Table(
    "plain_message",
    METADATA,
    Column("native_id", String, primary_key=True),
    Column("msisdn", String, nullable=False),
    Column("short_code", String, nullable=False),
    Column("text", String, nullable=False),
    Column("units", Integer, nullable=False),
    Column("amount_vnd", BigInteger, nullable=False, index=True),
)
CAMPAIGNS = Table(
    "plain_campaign",
    METADATA,
    Column("slug", String, primary_key=True),
    Column("messages", BigInteger, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("pledged_vnd", BigInteger, nullable=False),
)


class Data(BaseModel):
    """The fields a plain service would read."""

    message_id: str
    msisdn: str
    short_code: str
    text: str


class Event(BaseModel):
    """A `message.received` event."""

    type: str
    data: Data


def empty_app() -> web.Application:
    """The ceiling: read the body, answer a constant."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b'{"accepted":["m-1"]}', content_type="application/json")

    app = web.Application()
    app.router.add_post("/{tail:.*}", answer)
    return app


async def plain_app(database: str, secret: str) -> web.Application:
    """What a competent user would write: a pool, a transaction per callback, the total in the campaign's row."""
    engine = create_async_engine(database, pool_size=20, max_overflow=0)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.drop_all)
        await connection.run_sync(METADATA.create_all)
        await connection.execute(insert(CAMPAIGNS).values(slug="vnn", messages=0, units=0, pledged_vnd=0))
    store = upsert(MESSAGES).on_conflict_do_nothing().returning(MESSAGES.c.native_id)
    count = (
        update(CAMPAIGNS)
        .where(CAMPAIGNS.c.slug == bindparam("its_slug"))
        .values(
            messages=CAMPAIGNS.c.messages + 1,
            units=CAMPAIGNS.c.units + bindparam("more_units"),
            pledged_vnd=CAMPAIGNS.c.pledged_vnd + bindparam("more_vnd"),
        )
    )

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + body
        mac = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        fresh = abs(time.time() - int(request.headers["webhook-timestamp"])) < 300
        if not fresh or not hmac.compare_digest(f"v1,{mac}", request.headers["webhook-signature"]):
            return web.json_response({"error": "unauthenticated"}, status=401)
        data = Event.model_validate_json(body).data
        units = int(data.text.split()[1])
        row: dict[str, Any] = {**data.model_dump(exclude={"message_id"}), "native_id": data.message_id}
        async with engine.begin() as connection:
            stored = await connection.execute(store, {**row, "units": units, "amount_vnd": units * 20_000})
            if stored.scalar() is not None:
                values = {"its_slug": "vnn", "more_units": units, "more_vnd": units * 20_000}
                await connection.execute(count, values)
        return web.json_response({"accepted": [data.message_id]})

    app = web.Application()
    app.router.add_post("/{tail:.*}", answer)
    return app


async def main() -> None:
    """Serve one of the two on a port until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=["empty", "plain"])
    parser.add_argument("port", type=int)
    parser.add_argument("--database", default="")
    parser.add_argument("--secret", default="")
    chosen = parser.parse_args()
    app = empty_app() if chosen.which == "empty" else await plain_app(chosen.database, chosen.secret)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", chosen.port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
