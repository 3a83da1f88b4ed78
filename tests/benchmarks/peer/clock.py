"""The clock of a peer. It needs nothing but Python, so that it starts before any library is loaded."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLD = 0.7484  # the published experiment's test accuracy, to be passed on validation pictures
SEARCH_SHARE = 0.7  # of the minutes, where a peer has no rule of its own; the rest trains the best again


class Clock:
    """Seconds since a peer's work began, and the limit of its minutes."""

    def __init__(self, minutes: float):
        """Starts the clock of a peer that has this many minutes."""
        self.limit = 60 * minutes
        self.aside = 0.0  # seconds of measurements that are not the peer's own work
        self._started = time.monotonic()

    def seconds(self) -> float:
        """Returns the seconds since the start, without those set aside."""
        return time.monotonic() - self._started - self.aside

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Takes what happens inside out of the peer's seconds: a measurement that it does not make itself."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.aside += time.monotonic() - began
