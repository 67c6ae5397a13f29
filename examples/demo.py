"""Ask the default model about a video with sound and print what it answers, sees and hears.

Run by `make demo`. The first run fetches the default model's parts (about 200 MB) and joins them; later runs start in
seconds.
"""

from __future__ import annotations

import sys
import time

QUESTIONS = (
    "What is in this video?",
    "In which direction does it move?",
    "What do you hear?",
)


def main() -> int:
    """Answer each question about the clip given on the command line."""
    started = time.perf_counter()
    from videollama2 import VideoLLaMA2

    clip = sys.argv[1] if len(sys.argv) > 1 else "examples/media/demo.mp4"
    model = VideoLLaMA2.from_pretrained()
    print(f"clip: {clip}")
    for question in QUESTIONS:
        answer = model.ask(question, video=clip)
        print(f"\nQ: {question}\nA: {answer}\n{answer.summary()}")
    print(f"\n{time.perf_counter() - started:.1f} s in all, model loading included")
    return 0


if __name__ == "__main__":
    sys.exit(main())
