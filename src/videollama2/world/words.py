"""The words a voice may say in a clip: everyday words that sound unlike one another, none with a homophone."""

from __future__ import annotations

_EVERYWHERE = """
    zero one three five seven nine eleven twenty hundred
    red green yellow orange purple silver
    monday friday sunday summer winter morning evening
    apple banana bread butter water coffee sugar pepper potato
    table window garden kitchen picture paper pencil ticket money
    doctor teacher mother brother family
    river mountain forest island village station hospital market
    dog elephant tiger rabbit chicken
    guitar piano music camera computer telephone bicycle airplane
    stop jump listen remember follow answer open
    hello goodbye please tomorrow always never together behind under
"""
_TEST_ONLY = """
    lemon castle monkey dragon hammer basket tunnel pocket secret umbrella holiday planet captain sister cousin finger
    shoulder carpet candle butterfly december thirty violin engine
"""

WORDS: tuple[str, ...] = tuple(_EVERYWHERE.split())
"""Spoken in every split, by other voices in the split "test"."""

NEW_WORDS: tuple[str, ...] = tuple(_TEST_ONLY.split())
"""Spoken in the split "test" only: words never heard in training."""
