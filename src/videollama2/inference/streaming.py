"""An answer piece by piece: only text that later tokens cannot change is given out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from videollama2.inference.answer import Answer
from videollama2.inference.core import Core, Reading
from videollama2.inference.decoding import Row, decode

REPLACEMENT = "\ufffd"


class TextPieces:
    """Turns growing token ids into pieces of text whose sum is the stripped whole.

    Args:
        to_text: Text of token ids.
    """

    def __init__(self, to_text: Callable[[Sequence[int]], str]) -> None:
        self._to_text = to_text
        self._given = ""

    def next(self, ids: Sequence[int], *, is_last: bool = False) -> str:
        """What can be given out now; held back are unfinished characters and white space that may be the end."""
        text = self._to_text(ids)
        stable = text.strip() if is_last else text.rstrip(REPLACEMENT).strip()
        if not stable.startswith(self._given):
            return ""
        piece = stable[len(self._given) :]
        self._given = stable
        return piece


def stream_reading(core: Core, reading: Reading) -> Iterator[tuple[str | Answer, Row]]:
    """Generates the answer of a prompt that was read.

    Yields:
        (piece, row) for every piece of text; last (answer, row). The pieces together are the answer's text.
    """
    row = Row(reading.sampling)
    pieces = TextPieces(core.processor.decode)
    steps = decode(core.model, [reading.prompt], [row])
    while not row.finished:
        with reading.timer.stage("generate"):
            next(steps)
        if piece := pieces.next(row.ids):
            yield piece, row
    # The last step of the generator notes the keys and values of the finished row.
    for _ in steps:
        pass
    answer = core.answer(reading, row)
    if piece := pieces.next(row.ids, is_last=True):
        yield piece, row
    yield answer, row
