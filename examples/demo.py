"""Ask the default model about a video with sound and print what it answers, sees and hears.

Run by `make demo`. The first run fetches the default model's parts (about 200 MB) and joins them; later runs start in
seconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

CLIP = Path(__file__).parent / "media" / "demo.mp4"
OBJECTS = ["a cat", "a dog", "a car", "a bird"]
QUESTIONS = (
    "In which direction does the cat move?",
    "How many cats are there?",
    "What do you hear?",
)


def main() -> int:
    """Answer questions about the clip given on the command line, by default the one beside this file."""
    started = time.perf_counter()
    from videollama2 import VideoLLaMA2

    clip = sys.argv[1] if len(sys.argv) > 1 else CLIP
    print("loading the default model (the first time its parts are fetched, about 200 MB)", file=sys.stderr)
    model = VideoLLaMA2.from_pretrained()
    print(f"clip: {clip}")
    chosen = model.choose("What is in this video?", OBJECTS, video=clip)
    print(f"\nQ: What is in this video? ({', '.join(OBJECTS)})\nA: {chosen}\n{chosen.summary()}")
    for question in QUESTIONS:
        answer = model.ask(question, video=clip)
        print(f"\nQ: {question}\nA: {answer}\n{answer.summary()}")
    print(f"\n{time.perf_counter() - started:.1f} s in all, model loading included")
    return 0


if __name__ == "__main__":
    sys.exit(main())
