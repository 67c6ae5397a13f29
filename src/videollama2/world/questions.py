"""Questions and answers read off a scene graph.

Every question is a dict: `family`; `modality` ("video", "audio" or "both": what one must perceive); `form` ("open",
"yesno", "choice" or "caption"); `question`; `answer`; `options` (for "choice": the offered answers, shuffled, the right
one among them; else empty). Wrong options are drawn as the right ones are: without the clip one is at chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from videollama2.world.describe import NUMBERS, describe_picture, describe_sound
from videollama2.world.graph import Scene
from videollama2.world.questions_plain import ask_plain
from videollama2.world.questions_sound import SOUND_ASKERS
from videollama2.world.questions_time import TIME_ASKERS
from videollama2.world.writer import Question, Writer

__all__ = ["NUMBERS", "Question", "choice_prompt", "describe_picture", "describe_sound", "make_questions"]

_ASKERS: dict[str, Callable[[Writer], None]] = {**SOUND_ASKERS, **TIME_ASKERS}


def make_questions(
    scene: Scene, nouns: Sequence[str], kinds: Sequence[str], words: Sequence[str] = ()
) -> list[Question]:
    """All questions a scene can answer, in a fixed order; a pure function of the scene.

    Args:
        scene: The scene graph.
        nouns: Nouns that occur in this split; wrong answers are drawn from them.
        kinds: Kinds of sound that occur in this split.
        words: Words that could have been said instead; needed where a word is said.
    """
    writer = Writer(scene, nouns, kinds, words)
    _ASKERS.get(scene.kind, ask_plain)(writer)
    picture, sound = describe_picture(scene), describe_sound(scene)
    writer.ask("caption", "video", picture, form="caption")
    writer.ask("audio_caption", "audio", sound, form="caption")
    writer.ask("av_caption", "both", f"{picture} {sound}", form="caption")
    return writer.out


def choice_prompt(question: Question) -> tuple[str, str]:
    """A "choice" question as text with lettered options.

    Returns:
        The prompt (question, "Options:", one "(A) ..." a line, the request for the letter) and the right letter.
    """
    options = [str(option) for option in question["options"]]  # type: ignore[attr-defined]
    lines = [f"({chr(65 + k)}) {option}" for k, option in enumerate(options)]
    prompt = "\n".join([str(question["question"]), "Options:", *lines, "Answer with the option's letter."])
    return prompt, chr(65 + options.index(str(question["answer"])))
