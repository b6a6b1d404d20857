"""Counters that several threads add to, and that a forked child begins at zero."""

from __future__ import annotations

import threading

from metlog import _process


class Ledger:
    """Counts by name, of this process alone."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self._pages: dict[tuple[int, int], _Page] = {}

    def add(self, name: str, count: int = 1) -> None:
        """Count something."""
        page = self._page()
        with page.lock:
            page.counts[name] = page.counts.get(name, 0) + count

    def counts(self) -> dict[str, int]:
        """Return a copy of all counts that are not zero."""
        page = self._page()
        with page.lock:
            return dict(page.counts)

    def _page(self) -> _Page:
        here = _process.identity()
        page = self._pages.get(here)
        if page is None:
            # In a forked child: the parent's page goes, and its lock, which a thread of the parent may hold.
            page = self._pages.setdefault(here, _Page())
            for other in [key for key in self._pages if key != here]:
                self._pages.pop(other, None)
        return page


class _Page:
    def __init__(self) -> None:
        # Reentrant, because a signal handler may count while its own thread does.
        self.lock = threading.RLock()
        self.counts: dict[str, int] = {}
