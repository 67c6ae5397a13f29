"""Safe stop: SIGTERM or SIGINT asks the run to finish its step, save and end well; a second SIGINT ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether, and by which signal, this process was asked to stop.

    Attributes:
        signal_name: "SIGTERM" or "SIGINT"; None: nobody asked.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None

    def __bool__(self) -> bool:
        """True once asked."""
        return self.signal_name is not None

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal.

        Raises:
            KeyboardInterrupt: On SIGINT where the run was asked before.
        """
        if self and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Listen for the signals while the block runs; what handled them before does so again afterwards.

    Only the main thread of a process may handle signals; in another one nothing is listened for.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.ask) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
