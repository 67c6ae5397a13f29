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
}  # fmt: skip
"""Family (or wording) -> ways to ask; which one is used is drawn from the scene."""

ARROW_FAMILIES = frozenset({"first", "last", "order", "when"})
"""Families (beside "direction") whose answers change when the frames are played backwards."""
