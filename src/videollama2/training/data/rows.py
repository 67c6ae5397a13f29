"""One official data row, read strictly: {"id", "video" | "image" | "audio": path, "conversations": [...]}.

The official code takes whatever it finds and fails, or trains on something else, hours later. Here every way in which a
row can be wrong has a name, and its message says what to do.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from videollama2.processing.template import TAGS

Modality = Literal["video", "image", "audio", "text"]

MEDIA_KEYS = ("video", "image", "audio")
# "model" says in the official mixtures who wrote a text-only conversation.
ROW_KEYS = ("id", *MEDIA_KEYS, "conversations", "model")
TURN_KEYS = ("from", "value")

# Kinds of faults, in the order in which reports list them.
FAULT_KINDS: dict[str, str] = {
    "not_json": "the line is not JSON",
    "not_a_row": "not a mapping with conversations",
    "unknown_key": "a key that no row has",
    "no_conversation": "no turns, or a turn without text",
    "odd_turns": "turns do not go human, gpt, human, gpt",
    "two_media": "two media where one is meant",
    "bad_path": "the medium is not a path",
    "tag_without_media": "a tag in the text and no such medium",
    "media_without_tag": "a medium and no tag in a question",
    "tag_in_answer": "a tag in an answer",
    "not_a_caption": "not the form of a pre-training sample",
    "duplicate": "the same row twice",
    "missing": "the file is not there",
    "wrong_folder": "the file is elsewhere in the folder",
    "wrong_kind": "the file is of another kind",
    "damaged": "the file cannot be read",
    "over_limit": "the file is over a size limit",
    "timed_out": "reading the file took too long",
    "too_long": "longer than the limit",
    "all_masked": "no token would be learnt",
    "no_tower": "the model cannot see or hear it",
}


@dataclass(frozen=True, kw_only=True)
class RowFault:
    """What is wrong with a row.

    Attributes:
        kind: A word of `FAULT_KINDS`.
        text: What was found, in a few words.
        fix: What to do about it.
    """

    kind: str
    text: str
    fix: str

    def __str__(self) -> str:
        """Text and fix as one sentence."""
        return f"{self.text}; {self.fix}."


class RowFaultError(Exception):
    """A row cannot be used. Inside this package only: users meet it as a line of the ledger."""

    def __init__(self, fault: RowFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training sample as it stands in its file.

    Attributes:
        id: The row's own id, or file and line where it has none.
        modality: Of its one medium; "text" without one.
        path: Its medium, the folder joined in front; None for text.
        conversations: Turns {"from": "human" | "gpt", "value"}, in order, as written.
        source: Name of the file of rows.
        line: Line of the row in it, from 1 (Parquet: number of the row, from 1).
        events: What the official code does to this row that one may not expect.
    """

    id: str
    modality: Modality
    path: Path | None
    conversations: tuple[Mapping[str, str], ...]
    source: str
    line: int
    events: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.source}:{self.line}"


def parse_row(
    raw: Any,
    *,
    source: str,
    line: int,
    folder: str | os.PathLike[str] | None = None,
    captions: bool = False,
    ignore_keys: Sequence[str] = (),
) -> tuple[Row | None, tuple[RowFault, ...]]:
    """Read one row.

    Args:
        raw: The decoded JSON value.
        source: Name of the file, for messages.
        line: Its line there.
        folder: Joined in front of a relative path.
        captions: The row must have the form of pre-training: a medium, a question with its tag, one caption.
        ignore_keys: Further keys that rows and turns may have.

    Returns:
        The row and no fault, or None and every fault that is not a mere consequence of another.
    """
    if not isinstance(raw, Mapping):
        fault = _fault("not_a_row", f"the row is a {type(raw).__name__}", 'write a mapping {"conversations": [...]}')
        return None, (fault,)
    faults = _unknown_keys(raw, (*ROW_KEYS, *ignore_keys), "the row")
    # What a misspelt key explains is not told a second time.
    meant = {key for key in ROW_KEYS for fault in faults if repr(key) in fault.fix}
    turns: Any = raw.get("conversations")
    if "conversations" not in meant:
        faults += _faults_of_turns(turns, ignore_keys)
    modality, path, media_faults = _medium(raw, folder)
    faults += media_faults
    events: tuple[str, ...] = ()
    if _readable(turns):
        if turns[0]["from"] != "human":
            turns = turns[1:]
            events = ("the first turn is not the human's and is left out",)
        if not meant & set(MEDIA_KEYS) and not any(fault.kind == "two_media" for fault in media_faults):
            faults += _faults_of_tags(turns, modality)
        if captions and not faults:
            faults += _faults_of_caption(turns, modality)
    if faults:
        return None, tuple(faults)
    name = str(raw["id"]) if raw.get("id") is not None else f"{source}:{line}"
    conversations = tuple({key: turn[key] for key in TURN_KEYS} for turn in turns)
    return (
        Row(
            id=name,
            modality=modality,
            path=path,
            conversations=conversations,
            source=source,
            line=line,
            events=events,
        ),
        (),
    )


def _fault(kind: str, text: str, fix: str) -> RowFault:
    return RowFault(kind=kind, text=text, fix=fix)


def _unknown_keys(mapping: Mapping[str, Any], known: Sequence[str], what: str) -> list[RowFault]:
    faults = []
    for key in mapping:
        if key in known:
            continue
        near = difflib.get_close_matches(str(key), [name for name in known if name not in mapping], n=1)
        fix = f"perhaps {near[0]!r} is meant" if near else "remove it, or name it among the keys to ignore"
        faults.append(_fault("unknown_key", f"{what} has the unknown key {key!r}", fix))
    return faults


def _faults_of_turns(turns: Any, ignore_keys: Sequence[str]) -> list[RowFault]:
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not len(turns):
        text = "there are no conversations" if turns is None or turns == [] else "conversations is not a list of turns"
        return [_fault("no_conversation", text, 'give turns {"from": "human" | "gpt", "value": text}')]
    faults: list[RowFault] = []
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, Mapping) or not isinstance(turn.get("value"), str):
            misspelt = (
                _unknown_keys(turn, (*TURN_KEYS, *ignore_keys), f"turn {number}") if isinstance(turn, Mapping) else []
            )
            plain = _fault("no_conversation", f"turn {number} has no text", 'give it "from" and "value", both text')
            return misspelt[:1] + ([] if misspelt else [plain])
        faults += _unknown_keys(turn, (*TURN_KEYS, *ignore_keys), f"turn {number}")
    if faults:
        return faults
    roles = [turn.get("from") for turn in turns]
    fix = "let turns go human, gpt, human, gpt ... and end with gpt"
    strange = [role for role in roles if role not in ("human", "gpt")]
    if strange:
        return [_fault("odd_turns", f"a turn has 'from' {strange[0]!r}", fix)]
    spoken = roles if roles[0] == "human" else roles[1:]
    if not spoken or spoken != ["human", "gpt"] * (len(spoken) // 2):
        return [_fault("odd_turns", f"the turns go {', '.join(map(str, roles))}", fix)]
    answers = [turn["value"] for turn in turns if turn["from"] == "gpt"]
    if not any(answer.strip() for answer in answers):
        return [_fault("all_masked", "every answer is empty: there is nothing to learn", "write the answers")]
    return []


def _readable(turns: Any) -> bool:
    """Whether every turn has a speaker and a text."""
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not len(turns):
        return False
    return all(
        isinstance(turn, Mapping) and turn.get("from") in ("human", "gpt") and isinstance(turn.get("value"), str)
        for turn in turns
    )


def _medium(raw: Mapping[str, Any], folder: Any) -> tuple[Modality, Path | None, list[RowFault]]:
    given = [key for key in MEDIA_KEYS if raw.get(key) is not None]
    if len(given) > 1:
        fix = "keep one, or make two rows; the sound of a video needs no 'audio' (sound_of_video)"
        return "text", None, [_fault("two_media", f"the row has {' and '.join(given)}", fix)]
    if not given:
        return "text", None, []
    modality: Any = given[0]
    value = raw[modality]
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 1:
        fix = f"give one {modality} a row"
        return modality, None, [_fault("two_media", f"{modality!r} holds {len(value)} entries", fix)]
    if not isinstance(value, str) or not value.strip() or "://" in value or "\0" in value:
        fix = "give the path of one file, below the folder or absolute"
        return modality, None, [_fault("bad_path", f"{modality!r} is {value!r}", fix)]
    return modality, Path(os.path.join(folder or "", value)), []


def _faults_of_tags(turns: Sequence[Mapping[str, str]], modality: Modality) -> list[RowFault]:
    faults = []
    for name, tag in TAGS.items():
        asked = [turn["value"].count(tag) for turn in turns if turn["from"] == "human"]
        answered = sum(turn["value"].count(tag) for turn in turns if turn["from"] == "gpt")
        if name != modality:
            if sum(asked) + answered:
                fix = f"add the key {name!r}, or remove the tag from the text"
                faults.append(_fault("tag_without_media", f"the text has {tag} and the row no {name}", fix))
            continue
        if sum(asked) == 0:
            found = "has it in an answer only" if answered else f"has no {tag}"
            fix = f"begin the first question with {tag}"
            faults.append(_fault("media_without_tag", f"the row has a {name} and its text {found}", fix))
        elif sum(asked) > 1:
            fix = f"keep the first {tag}: the row has one {name}"
            faults.append(_fault("two_media", f"{tag} stands {sum(asked)} times", fix))
        elif answered:
            faults.append(_fault("tag_in_answer", f"an answer has {tag}", "remove it from the answer"))
    return faults


def _faults_of_caption(turns: Sequence[Mapping[str, str]], modality: Modality) -> list[RowFault]:
    if modality == "text" or len(turns) != 2:
        found = "the row has no medium" if modality == "text" else f"the row has {len(turns)} turns"
        fix = "give a medium, one question with its tag and one caption (labels: plain), or train with labels: chat"
        return [_fault("not_a_caption", found, fix)]
    return []
