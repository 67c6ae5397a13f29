"""A mirrored or reversed clip keeps true answers."""

from __future__ import annotations

from videollama2.training.default.mirror import backwards, mirrored, swap_words


def question(family, answer, options=(), form="open", modality="video"):
    return {
        "family": family,
        "modality": modality,
        "form": form,
        "question": "?",
        "answer": answer,
        "options": list(options),
    }


def test_swap_exchanges_both_ways_and_only_whole_words():
    pairs = {"left": "right", "right": "left"}
    assert swap_words("left of the right bright thing", pairs) == "right of the left bright thing"


def test_mirror_changes_side_and_direction_but_not_up():
    turned = mirrored(
        [
            question("direction", "to the left", ["to the left", "upwards"], "choice"),
            question("side", "The cup is on the right."),
            question("sound", "A right sound.", modality="audio"),
        ]
    )
    assert turned[0]["answer"] == "to the right"
    assert turned[0]["options"] == ["to the right", "upwards"]
    assert turned[1]["answer"] == "The cup is on the left."
    assert turned[2]["answer"] == "A right sound."


def test_backwards_turns_motion_and_order_but_not_places():
    turned = backwards(
        [
            question("first", "A dog."),
            question("last", "A cat."),
            question("order", "dog", ["dog", "cat"], "choice"),
            question("order", "A dog."),
            question("caption", "A dog appears first, then a cat.", form="caption"),
        ]
    )
    answers = {(q["family"], q["form"]): q["answer"] for q in turned}
    assert answers == {("first", "open"): "A cat.", ("last", "open"): "A dog.", ("order", "choice"): "cat"}
    moving = backwards([question("direction", "The dog moves upwards."), question("side", "The cup is on the left.")])
    assert [q["answer"] for q in moving] == ["The dog moves downwards.", "The cup is on the left."]
    still = backwards([question("direction", "The dog stays still.")])
    assert still[0]["answer"] == "The dog stays still."


def test_both_twice_is_the_clip_itself():
    clip = [question("direction", "to the left", ["to the left", "downwards"], "choice"), question("first", "A dog."),
            question("last", "A cat.")]  # fmt: skip
    assert backwards(backwards(clip)) == clip
    assert mirrored(mirrored(clip)) == clip


def test_backwards_turns_the_place_in_the_order():
    asked = question("when", "second", ["first", "second", "third", "last"], "choice")
    turned = backwards([asked, question("first", "A dog."), question("last", "A cat.")])[0]
    assert (turned["answer"], turned["options"]) == ("third", ["last", "third", "second", "first"])
