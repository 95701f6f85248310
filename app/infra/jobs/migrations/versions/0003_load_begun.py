"""Whether the process that has a job has begun to load its model: if that ends the process, the job is counted as restarted."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("diffusion_jobs", sa.Column("load_begun", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("diffusion_jobs", "load_begun")
