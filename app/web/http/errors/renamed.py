"""Names wrong fields as a client sent them, where a dialect has other names than the server's own API."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ....domain.errors import FieldError, InvalidRequest


@contextmanager
def renamed_fields(names: Mapping[str, str], *, prefix: str = "") -> Iterator[None]:
    """Rename the fields of an error that is raised inside.

    Args:
        names: those of the dialect, by the server's own; several may be one there.
        prefix: put before each field that has no other name.

    Raises:
        InvalidRequest: as it was raised, with other names.
    """
    try:
        yield
    except InvalidRequest as error:
        renamed = (
            FieldError(field=names.get(wrong.field, f"{prefix}{wrong.field}"), message=wrong.message)
            for wrong in error.errors
        )
        raise InvalidRequest(list(dict.fromkeys(renamed))) from error
