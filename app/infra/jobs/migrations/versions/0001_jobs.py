"""Jobs and the deliveries of their webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "diffusion_jobs",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("detached", sa.Boolean, nullable=False),
        sa.Column("parameters", sa.Text),
        sa.Column("uploads", sa.Text, nullable=False),
        sa.Column("callback_url", sa.Text),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("started", sa.Double),
        sa.Column("ended", sa.Double),
        sa.Column("steps_done", sa.Integer, nullable=False),
        sa.Column("steps_total", sa.Integer, nullable=False),
        sa.Column("restarts", sa.Integer, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("images", sa.Text, nullable=False),
        sa.Column("nbytes", sa.BigInteger, nullable=False),
        sa.Column("expired", sa.Boolean, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("worker", sa.String(64)),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_diffusion_jobs"),
        sa.UniqueConstraint("client", "key", name="uq_diffusion_jobs_client_key"),
    )
    for columns in (("created", "id"), ("ended", "created"), ("client", "created"), ("worker",)):
        op.create_index(f"ix_diffusion_jobs_{'_'.join(columns)}", "diffusion_jobs", columns)
    op.create_table(
        "diffusion_deliveries",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("due", sa.Double, nullable=False),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_diffusion_deliveries"),
    )
    for columns in (("state", "due"), ("job_id",)):
        op.create_index(f"ix_diffusion_deliveries_{'_'.join(columns)}", "diffusion_deliveries", columns)


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("diffusion_deliveries")
    op.drop_table("diffusion_jobs")
