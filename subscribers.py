"""Functions that are told of every event, while they want to be: scripts beside a client are, for one."""

from __future__ import annotations

import threading
from collections.abc import Callable

from events import Event

Handler = Callable[[Event], None]


class Subscribers:
    """Those that are told; any thread may add some, and end them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the one below
        self._handlers: tuple[Handler, ...] = ()

    def add(self, handler: Handler) -> Callable[[], None]:
        """Have a function told of every event from now on, in the thread that tells it; it must not wait.

        Returns:
            What ends that.
        """
        with self._lock:
            self._handlers = (*self._handlers, handler)

        def end() -> None:
            with self._lock:
                self._handlers = tuple(other for other in self._handlers if other is not handler)

        return end

    def tell(self, event: Event) -> None:
        """Tell all who are there now, in the order in which they came."""
        with self._lock:
            handlers = self._handlers
        for handler in handlers:
            handler(event)
