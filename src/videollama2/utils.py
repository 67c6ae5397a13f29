"""Names that scripts written for the official repository import from here."""

from __future__ import annotations


def disable_torch_init() -> None:
    """Does nothing, on purpose.

    Official scripts call it first, to skip the random initialisation that loading overwrites. Loading here never
    initialises weights it then overwrites, so there is nothing to switch off (and no global state is touched).
    """
