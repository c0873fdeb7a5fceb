"""What upstream says of limits, what was held back or foretold, and how messages go together."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.BigInteger().with_variant(TIMESTAMP(timezone=True), "postgresql")

ADDED = {
    "organization": (
        sa.Column("status", sa.Text),
        sa.Column("account", sa.JSON),
        sa.Column("limit_read_at", TIME),
        sa.Column("lower_limit", sa.BigInteger),
        sa.Column("lower_since", TIME),
        sa.Column("mismatch", sa.JSON),
        sa.Column("sites", sa.JSON),
        sa.Column("history_from", sa.Date),
        sa.Column("reread_on", sa.Date),
        sa.Column("interval_seconds", sa.Integer),
    ),
    "day_usage": (sa.Column("changed_from", sa.BigInteger),),
    "alert": (
        sa.Column("subject", sa.Text, nullable=False, server_default=""),
        sa.Column("mark", sa.Text),
        sa.Column("held", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("told_at", TIME),
        sa.Column("detail", sa.JSON),
    ),
    "delivery": (
        sa.Column("batch", sa.Text),
        sa.Column("message_id", sa.Text),
        sa.Column("not_before", TIME),
        sa.Column("expires_at", TIME),
        sa.Column("named_at", TIME),
        sa.Column("fallback_for", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("log", sa.JSON),
    ),
}


def upgrade() -> None:
    for table, columns in ADDED.items():
        for column in columns:
            op.add_column(table, column)
    op.execute("UPDATE alert SET told_at = started_at")  # until now nothing was held back
    op.create_index("delivery_of_message", "delivery", ["message_id"])
