"""How each family asks, in several wordings."""

from __future__ import annotations

ASK: dict[str, tuple[str, ...]] = {
    "object": ("What is shown in the video?", "What do you see?", "Which object is in the video?", "What is this?",
               "What can be seen in the clip?"),
    "moving": ("What is moving?", "Which object moves in the video?", "What is the thing that moves?"),
    "direction": ("In which direction does the {x} move?", "Which way does the {x} go?",
                  "Where is the {x} moving?", "How does the {x} move?"),
    "count": ("How many {xs} are there?", "How many {xs} do you see?", "Count the {xs} in the video.",
              "What is the number of {xs}?"),
    "colour": ("What colour is the {x}?", "Which colour does the {x} have?", "What is the color of the {x}?"),
    "first": ("What appears first?", "Which object is seen first?", "What is shown first in the video?"),
    "last": ("What appears last?", "Which object is seen last?", "What is shown at the end of the video?"),
    "order": ("Which appears first, {x} or {y}?", "What is seen first, {x} or {y}?", "What comes first: {x} or {y}?"),
    "side": ("Where is the {x}?", "On which side of the picture is the {x}?", "Where in the frame is the {x}?"),
    "sound": ("What do you hear?", "What sound is heard?", "Which sound is in the clip?", "What can be heard?",
              "What is making the sound?"),
    "sound_order": ("Which sound comes first, {x} or {y}?", "What is heard first, {x} or {y}?"),
    "match": ("Does the sound belong to what is shown?", "Does the sound fit the picture?",
              "Is the sound made by the thing in the video?"),
    "exists": ("Is there {x} in the video?", "Do you see {x}?", "Does the video show {x}?"),
    "sound_exists": ("Do you hear {x}?", "Can {x} be heard?"),
    "caption": ("Describe the video.", "What happens in the video?", "Give a short caption of the clip.",
                "Describe what you see."),
    "audio_caption": ("Describe the sound.", "Describe what you hear.", "What happens in the audio?"),
    "av_caption": ("Describe the video and its sound.", "What do you see and hear?",
                   "What is seen and heard in the clip?"),
    "word": ("What word is spoken?", "Which word does the voice say?", "What does the person say?",
             "Which word is heard?"),
    "word_said": ("Is the word \"{x}\" spoken?", "Does the voice say \"{x}\"?"),
    "when": ("When does the {x} appear?", "At which place in the order does the {x} appear?",
             "When is the {x} shown?"),
    "repeat": ("How many times does the {x} appear?", "How often is the {x} seen?", "How many times is the {x} shown?"),
    "times_heard": ("How many times is {x} heard?", "How often do you hear {x}?"),
    "times_said": ("How many times is the word \"{x}\" said?", "How often does the voice say \"{x}\"?"),
    "size": ("Which is larger, {x} or {y}?", "Which thing is bigger: {x} or {y}?"),
    "relation": ("Which is on the left, {x} or {y}?", "Which thing is further left: {x} or {y}?"),
    "speed": ("Which moves faster, {x} or {y}?", "Which is faster: {x} or {y}?"),
    "change": ("What changes about the shape?", "What about the thing in the video becomes different?",
               "Which property of the shape changes during the video?"),
    "state": ("What happens to the {x}?", "How does the {x} change?"),
    "vanish": ("Does the {x} appear or vanish?", "What does the {x} do during the video: appear or vanish?"),
    "action": ("What does the {x} do?", "What happens to the {x}?", "How does the {x} change?"),
    "grow": ("Does the {x} grow or shrink?", "Does the {x} become larger or smaller?"),
    "turn": ("Which way does the {x} turn?", "Does the {x} turn clockwise or counter-clockwise?"),
    "opening": ("Does the {x} open or close?", "What does the {x} do: open or close?"),
    "meet": ("Do the two things come together or move apart?", "Do {x} and {y} move together or apart?"),
    "camera": ("How does the camera move?", "What does the camera do?"),
    "pan": ("Does the camera move to the left or to the right?", "To which side does the camera turn?"),
    "zoom": ("Does the camera zoom in or out?", "Does the picture zoom in or out?"),
    "together": ("What is shown while the sound is heard?", "Which thing is seen when {x} is heard?",
                 "What is in the picture while {x} can be heard?"),
}  # fmt: skip
"""Family (or wording) -> ways to ask; which one is used is drawn from the scene."""

ARROW_FAMILIES = frozenset(
    {"first", "last", "order", "when", "state", "vanish", "action", "grow", "turn", "opening", "meet", "camera", "pan",
     "zoom", "together"}
)  # fmt: skip
"""Families (beside "direction") whose answers change, or may change, when the frames are played backwards."""

NEEDS_TIME = frozenset(
    {"direction", "first", "last", "order", "when", "repeat", "speed", "change", "state", "vanish", "action", "grow",
     "turn", "opening", "meet", "pan", "zoom", "together"}
)  # fmt: skip
"""Families of which one frame of an unknown moment says nothing: a reader of it is at chance."""

NEEDS_SOUND = frozenset(
    {"sound", "sound_order", "sound_exists", "match", "word", "word_said", "times_heard", "times_said", "together",
     "audio_caption", "av_caption"}
)  # fmt: skip
"""Families of which a silent clip says nothing: a deaf reader is at chance."""
