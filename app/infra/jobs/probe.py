"""What a look at the database of jobs has found."""

from dataclasses import dataclass
from typing import Literal

Schema = Literal["absent", "older", "current", "later"]
"""Age of the tables, beside the version of this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A database that can be used, maybe after a migration."""

    shown: str
    """Its URL, without the password."""
    schema: Schema
    revision: str | None


class Unusable(Exception):
    """The database cannot be used; `hint` says what to do."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint
