"""What the pools of one machine share: assets in host memory, whose turn it is to take some, and the news that some is free."""

import asyncio

from .ledger import Ledger


class HostTier:
    """One for each machine. Event loop only."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        """Held while a request takes host memory or waits for it, so that none is overtaken; fair: first come, first served."""
        self._ledger: Ledger | None = None
        self._changed = asyncio.Event()

    def new_ledger(self) -> Ledger:
        """Make the ledger of one more device."""
        self._ledger = Ledger(self._ledger)
        return self._ledger

    async def change(self) -> None:
        """Wait until memory was given back on any device or the host, or an asset was loaded or unpinned."""
        await self._changed.wait()

    def note_change(self) -> None:
        """Wake all that wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()
