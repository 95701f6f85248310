"""Tables of jobs. Their names begin with `diffusion_`, because a host application may give us its own database."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
VERSION_TABLE = "diffusion_version"


class ClientText(TypeDecorator[str]):
    """Text of clients, also in comparisons. PostgreSQL stores no NUL: U+FFFD stands for it, in all databases."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002 - the base's signature
        """Return what is stored for a text, or compared with what is stored."""
        return _storable(value)


class JobId(TypeDecorator[str]):
    """Id of a job, which clients may make up in a question."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002 - the base's signature
        """Return what is stored for an id, or compared with what is stored."""
        return _storable(value)


def _storable(value: str | None) -> str | None:
    return None if value is None else value.replace("\0", "\ufffd")


JOBS = Table(
    "diffusion_jobs",
    METADATA,
    Column("id", JobId(32), primary_key=True),
    Column("model", ClientText, nullable=False),
    Column("client", ClientText, nullable=False),
    Column("prompt", ClientText, nullable=False, server_default=""),
    Column("key", ClientText),
    Column("body", LargeBinary, nullable=False),
    Column("detached", Boolean, nullable=False),
    Column("parameters", Text),  # JSON; NULL once it has ended
    Column("uploads", Text, nullable=False),  # JSON: names of files by fields
    Column("callback_url", Text),
    Column("state", String(16), nullable=False),
    Column("created", Double, nullable=False),  # this and the other times: seconds since the epoch
    Column("started", Double),
    Column("ended", Double),
    Column("steps_done", Integer, nullable=False),
    Column("steps_total", Integer, nullable=False),
    Column("restarts", Integer, nullable=False),
    Column(
        "load_begun", Boolean, nullable=False, server_default=false()
    ),  # whether `worker` has begun to load its model
    Column("events", Text, nullable=False),  # JSON
    Column("failure", Text),  # JSON
    Column("result", Text),  # JSON
    Column("images", Text, nullable=False),  # JSON: names of files
    Column("nbytes", BigInteger, nullable=False),
    Column("expired", Boolean, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("worker", String(64)),  # process that has it; NULL if it is finished or free
    Column("lease_until", Double, nullable=False),
    UniqueConstraint("client", "key"),
    Index(None, "created", "id"),
    Index(None, "ended", "created"),
    Index(None, "client", "created"),
    Index(None, "worker"),
)

DELIVERIES = Table(
    "diffusion_deliveries",
    METADATA,
    Column("id", String(64), primary_key=True),  # the header webhook-id
    Column("job_id", String(32), nullable=False),
    Column("url", Text, nullable=False),
    Column("payload", Text, nullable=False),  # JSON, as it is signed
    Column("state", String(16), nullable=False),  # pending, delivered or failed
    Column("attempts", Integer, nullable=False),
    Column("created", Double, nullable=False),
    Column("due", Double, nullable=False),  # time of the next attempt; while one runs, the time after which it is lost
    Column("problem", Text),  # of the last attempt
    Index(None, "state", "due"),
    Index(None, "job_id"),
)
