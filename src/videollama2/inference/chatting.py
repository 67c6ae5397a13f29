"""Several turns about one medium: features, keys and values stay, answers are those of asking it all anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from videollama2.inference.answer import Answer
from videollama2.inference.core import Core, Kept, Reading
from videollama2.inference.decoding import Row
from videollama2.inference.request import Request
from videollama2.inference.streaming import stream_reading


class Chat:
    """A conversation. A question that fails leaves it as it was.

    Args:
        core: The model.
        options: Media, system message and settings, as for `VideoLLaMA2.ask`, in force for all turns.

    Attributes:
        turns: (question, answer) of every turn so far.
    """

    def __init__(self, core: Core, options: Mapping[str, Any]) -> None:
        # Wrong settings are refused here, not at the first question.
        Request.build("?", **options)
        self.core = core
        self.turns: list[tuple[str, Answer]] = []
        self._options = dict(options)
        self._kept: Kept | None = None

    def ask(self, question: str, **options: Any) -> Answer:
        """Answers the next question.

        Args:
            question: The question.
            options: Settings for this turn; media belong to the conversation and are given to `chat`.
        """
        reading = self._read(question, options)
        answer, row = self.core.generate([reading])[0]
        self._keep(question, answer, reading, row)
        return answer

    def stream(self, question: str, **options: Any) -> Iterator[str | Answer]:
        """Answers the next question piece by piece; the turn counts once the last piece was taken."""
        reading = self._read(question, options)
        for item, row in stream_reading(self.core, reading):
            if isinstance(item, Answer):
                self._keep(question, item, reading, row)
            yield item

    def reset(self) -> None:
        """Forgets all turns; the medium stays."""
        self.turns.clear()
        self._kept = None

    def _read(self, question: str, options: Mapping[str, Any]) -> Reading:
        request = Request.build(question, **{**self._options, **options})
        return self.core.read(request, self._messages(request), self._kept)

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        for question, answer in self.turns:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer.text}]
        messages.append({"role": "user", "content": request.question})
        if request.modality != "text":
            messages[0]["media"] = [request.modality]
        return messages

    def _keep(self, question: str, answer: Answer, reading: Reading, row: Row) -> None:
        assert row.final is not None
        # The last token was never fed to the model, so its keys and values are not there.
        ids = (*reading.ids, *row.ids)[: row.final.length]
        self._kept = Kept(ids, reading.prepared.keys, row.final)
        self.turns.append((question, answer))
