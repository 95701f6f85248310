"""Alembic runs this file. The connection is given by `Database.migrate`, or made from the URL of `alembic -x url=...`."""

import asyncio

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from litestar_diffusion.infra.jobs.tables import METADATA, VERSION_TABLE  # pyright: ignore[reportMissingImports] - this folder's installed name


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Leave the tables of a host application alone."""
    return kind != "table" or (name or "").startswith("diffusion_")


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        version_table=VERSION_TABLE,
        render_as_batch=True,
        include_name=_is_ours,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _from_url(url: str) -> None:
    engine = create_async_engine(url, poolclass=pool.NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(_migrate)
    await engine.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    _migrate(given)
else:
    asyncio.run(_from_url(context.get_x_argument(as_dictionary=True)["url"]))
