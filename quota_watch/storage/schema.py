"""The seven tables, the types they are made of, and how many rows are asked for at once."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    false,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

HEAD = "0003"
"""The Alembic revision this code reads and writes."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """A moment to the millisecond: `timestamptz` on PostgreSQL, milliseconds since 1970 on SQLite.

    Takes aware datetimes only and gives them back in UTC.
    """

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime | int]:
        """Choose the column type of the database."""
        if dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import TIMESTAMP  # noqa: PLC0415 -- heavy

            return dialect.type_descriptor(TIMESTAMP(timezone=True))  # type: ignore[arg-type]  # stubs know no dialect type
        return dialect.type_descriptor(BigInteger())  # type: ignore[arg-type]  # as above

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | int | None:
        """Turn an aware datetime into what the database stores."""
        if value is None:
            return None
        milliseconds = (value - _EPOCH) // _MILLISECOND
        if dialect.name == "postgresql":
            return _EPOCH + milliseconds * _MILLISECOND
        return milliseconds

    def process_result_value(
        self,
        value: datetime | int | None,
        dialect: Dialect,  # noqa: ARG002 -- SQLAlchemy calls by name
    ) -> datetime | None:
        """Turn what the database stores into a datetime in UTC."""
        if value is None or isinstance(value, datetime):
            return value and value.astimezone(UTC)
        return _EPOCH + value * _MILLISECOND


# SQLite numbers rows by itself only where the key is declared INTEGER.
_Key = BigInteger().with_variant(Integer, "sqlite")

_Json = JSON(none_as_null=True)

metadata = MetaData()

organization = Table(
    "organization",
    metadata,
    Column("pk", _Key, primary_key=True),
    Column("server", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("plan", Text),
    Column("next_at", UtcTime, nullable=False),
    Column("claimed_by", Text),
    Column("claimed_until", UtcTime),
    Column("period_start", Date),
    Column("used", BigInteger),
    Column("limit", BigInteger),
    Column("limit_source", Text, nullable=False),
    Column("limit_as_of", UtcTime),
    Column("drops", Boolean, nullable=False),
    Column("last_poll", UtcTime),
    Column("last_ok", UtcTime),
    Column("failing_since", UtcTime),
    Column("failed_polls", Integer, nullable=False, default=0),
    Column("last_error", _Json),
    Column("status", Text),
    Column("account", _Json),
    Column("limit_read_at", UtcTime),
    Column("lower_limit", BigInteger),
    Column("lower_since", UtcTime),
    Column("mismatch", _Json),
    Column("sites", _Json),
    Column("history_from", Date),
    Column("reread_on", Date),
    Column("interval_seconds", Integer),
    Column("days_digest", Text),
    Column("outlook", Text),
    Column("thinned_on", Date),
    UniqueConstraint("server", "id", name="organization_identity"),
    Index("organization_due", "next_at"),
)

day_usage = Table(
    "day_usage",
    metadata,
    Column("organization_pk", ForeignKey("organization.pk"), primary_key=True),
    Column("date", Date, primary_key=True),
    Column("counts", JSON, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("capped", Boolean, nullable=False, default=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("changed_from", BigInteger),
    sqlite_with_rowid=False,
)

snapshot = Table(
    "snapshot",
    metadata,
    Column("organization_pk", ForeignKey("organization.pk"), primary_key=True),
    Column("at", UtcTime, primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("today", BigInteger, nullable=False),
    Column("limit", BigInteger),
    sqlite_with_rowid=False,
)

forecast = Table(
    "forecast",
    metadata,
    Column("organization_pk", ForeignKey("organization.pk"), primary_key=True),
    Column("as_of", Date, primary_key=True),
    Column("period_start", Date, nullable=False),
    Column("p10", BigInteger, nullable=False),
    Column("p50", BigInteger, nullable=False),
    Column("p90", BigInteger, nullable=False),
    Column("warn_at", BigInteger),
    Column("path", JSON, nullable=False),
    Column("state", JSON, nullable=False),
    Column("version", Integer, nullable=False),
)

alert = Table(
    "alert",
    metadata,
    Column("pk", _Key, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("id", Text, nullable=False, unique=True),
    Column("organization_pk", ForeignKey("organization.pk")),
    Column("rule", Text, nullable=False),
    Column("level", Integer),
    Column("tier", Text),
    Column("severity", Text, nullable=False),
    Column("period_start", Date, nullable=False),
    Column("limit", BigInteger),
    Column("occurrence", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("transitions", JSON, nullable=False),
    Column("subject", Text, nullable=False, default="", server_default=""),
    Column("mark", Text),
    Column("held", Boolean, nullable=False, default=False, server_default=false()),
    Column("told_at", UtcTime),
    Column("detail", _Json),
    Index("alert_of_organization", "organization_pk", "period_start"),
)

delivery = Table(
    "delivery",
    metadata,
    Column("pk", _Key, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("alert_pk", ForeignKey("alert.pk")),
    Column("transition_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", UtcTime, nullable=False),
    Column("claimed_by", Text),
    Column("claimed_until", UtcTime),
    Column("last_error", Text),
    Column("last_status", Integer),
    Column("created_at", UtcTime, nullable=False),
    Column("done_at", UtcTime),
    Column("batch", Text),
    Column("message_id", Text),
    Column("not_before", UtcTime),
    Column("expires_at", UtcTime),
    Column("named_at", UtcTime),
    Column("fallback_for", Text),
    Column("reason", Text),
    Column("log", _Json),
    UniqueConstraint("transition_id", "channel", "recipient", name="delivery_once"),
    Index("delivery_due", "state", "channel", "next_at"),
    Index("delivery_of_alert", "alert_pk"),
    Index("delivery_of_message", "message_id"),
)

silence = Table(
    "silence",
    metadata,
    Column("pk", _Key, primary_key=True),
    Column("organization_pk", ForeignKey("organization.pk")),
    Column("rule", Text),
    Column("starts_at", UtcTime, nullable=False),
    Column("ends_at", UtcTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
)


def among(column: Column[Any], keys: Iterable[int]) -> ColumnElement[bool]:
    """Say that an integer column holds one of the keys, however many there are.

    They are written into the statement: of parameters SQLite takes 32,766 and PostgreSQL 65,535.
    """
    return column.in_(bindparam("keys", [*keys], unique=True, expanding=True, literal_execute=True))
