"""Prompts of jobs, by which they are searched."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; jobs that were accepted before have an empty prompt."""
    op.add_column("diffusion_jobs", sa.Column("prompt", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("diffusion_jobs", "prompt")
