"""The fitted outlook kept with the organization, and the day on which old rows were thinned out."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ADDED = (
    sa.Column("days_digest", sa.Text),
    sa.Column("outlook", sa.Text),
    sa.Column("thinned_on", sa.Date),
)


def upgrade() -> None:
    for column in ADDED:
        op.add_column("organization", column)
