"""Webhooks: what is told of the end of a job, and how it is delivered."""
