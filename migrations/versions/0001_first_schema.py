"""The first schema: seven tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.BigInteger().with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "organization",
        sa.Column("pk", KEY, primary_key=True),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("plan", sa.Text),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", TIME),
        sa.Column("period_start", sa.Date),
        sa.Column("used", sa.BigInteger),
        sa.Column("limit", sa.BigInteger),
        sa.Column("limit_source", sa.Text, nullable=False),
        sa.Column("limit_as_of", TIME),
        sa.Column("drops", sa.Boolean, nullable=False),
        sa.Column("last_poll", TIME),
        sa.Column("last_ok", TIME),
        sa.Column("failing_since", TIME),
        sa.Column("failed_polls", sa.Integer, nullable=False),
        sa.Column("last_error", sa.JSON),
        sa.UniqueConstraint("server", "id", name="organization_identity"),
    )
    op.create_index("organization_due", "organization", ["next_at"])
    op.create_table(
        "day_usage",
        sa.Column("organization_pk", KEY, sa.ForeignKey("organization.pk"), primary_key=True),
        sa.Column("date", sa.Date, primary_key=True),
        sa.Column("counts", sa.JSON, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("capped", sa.Boolean, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "snapshot",
        sa.Column("organization_pk", KEY, sa.ForeignKey("organization.pk"), primary_key=True),
        sa.Column("at", TIME, primary_key=True),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("today", sa.BigInteger, nullable=False),
        sa.Column("limit", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "forecast",
        sa.Column("organization_pk", KEY, sa.ForeignKey("organization.pk"), primary_key=True),
        sa.Column("as_of", sa.Date, primary_key=True),
        sa.Column("period_start", sa.Date, nullable=False),
        sa.Column("p10", sa.BigInteger, nullable=False),
        sa.Column("p50", sa.BigInteger, nullable=False),
        sa.Column("p90", sa.BigInteger, nullable=False),
        sa.Column("warn_at", sa.BigInteger),
        sa.Column("path", sa.JSON, nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_table(
        "alert",
        sa.Column("pk", KEY, primary_key=True),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("organization_pk", KEY, sa.ForeignKey("organization.pk")),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("level", sa.Integer),
        sa.Column("tier", sa.Text),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("period_start", sa.Date, nullable=False),
        sa.Column("limit", sa.BigInteger),
        sa.Column("occurrence", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("transitions", sa.JSON, nullable=False),
    )
    op.create_index("alert_of_organization", "alert", ["organization_pk", "period_start"])
    op.create_table(
        "delivery",
        sa.Column("pk", KEY, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("alert_pk", KEY, sa.ForeignKey("alert.pk")),
        sa.Column("transition_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", TIME),
        sa.Column("last_error", sa.Text),
        sa.Column("last_status", sa.Integer),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("done_at", TIME),
        sa.UniqueConstraint("transition_id", "channel", "recipient", name="delivery_once"),
    )
    op.create_index("delivery_due", "delivery", ["state", "channel", "next_at"])
    op.create_index("delivery_of_alert", "delivery", ["alert_pk"])
    op.create_table(
        "silence",
        sa.Column("pk", KEY, primary_key=True),
        sa.Column("organization_pk", KEY, sa.ForeignKey("organization.pk")),
        sa.Column("rule", sa.Text),
        sa.Column("starts_at", TIME, nullable=False),
        sa.Column("ends_at", TIME, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
    )
