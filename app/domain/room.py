"""Whether there is room for a claim now, without taking anything from anybody who waits."""

from .books import Books, Hold
from .eviction import freed_nbytes


def room_for(books: Books, hold: Hold) -> bool:
    """Whether a claim fits beside what is used or waited for; what is neither would be evicted for it."""
    if books.queue or hold.entry.leaving:
        return False  # those who queue in the pool are served first
    used, limits = books.usage(hold), books.limits()
    unwanted = [model for model, _ in books.idle_on_host(hold.entry) if model.wanted is None]
    if used.host_nbytes - freed_nbytes(unwanted, books.shares()) > limits.host_nbytes:
        return False
    if books.shared:
        return True
    copies = sum(copy.nbytes for copy in books.idle_on_device(hold.entry) if copy.wanted is None)
    return used.device_nbytes - copies <= limits.device_nbytes
