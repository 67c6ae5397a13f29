import random
import struct

import numpy as np
import pytest

from videollama2.world.instruments import INSTRUMENTS, SLOT_SECONDS, SOUND_SECONDS, phrase, write_midi
from videollama2.world.nouns import CONFUSABLE, NOUNS, plural, with_article
from videollama2.world.openclipart import OPENCLIPART
from videollama2.world.shapes import COLOURS, SHAPES, draw_shape
from videollama2.world.sounding import NOUN_SOUNDS, SAMPLE_RATE, SOUND_NAMES
from videollama2.world.synth import SYNTHESISERS


def test_every_table_speaks_of_known_nouns_and_sounds():
    assert set(OPENCLIPART) <= set(NOUNS)
    assert set(NOUN_SOUNDS) <= set(NOUNS)
    assert {kind for kinds in NOUN_SOUNDS.values() for kind in kinds} <= set(SOUND_NAMES)
    assert set(SYNTHESISERS) | set(INSTRUMENTS) | {"speech"} == set(SOUND_NAMES)
    assert all(name in CONFUSABLE[name] for name in NOUNS)
    assert all(name in CONFUSABLE[other] for name in NOUNS for other in CONFUSABLE[name])


def test_no_two_nouns_share_a_drawing():
    codes = [code for noun in NOUNS.values() for code in noun.codes]
    assert len(codes) == len(set(codes))
    assert len(NOUNS) >= 400


@pytest.mark.parametrize(
    ("singular", "many"),
    [("dog", "dogs"), ("mouse", "mice"), ("fox", "foxes"), ("cherry blossom", "cherry blossoms"), ("candy", "candies"),
     ("key", "keys"), ("toothbrush", "toothbrushes"), ("knife", "knives"), ("bus", "buses")],
)  # fmt: skip
def test_plurals(singular, many):
    assert singular in NOUNS
    assert plural(singular) == many


def test_articles():
    assert [with_article(name) for name in ("owl", "dog", "unicorn", "ufo", "umbrella", "garlic")] == [
        "an owl", "a dog", "a unicorn", "a ufo", "an umbrella", "garlic",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", sorted(SYNTHESISERS))
def test_synthesised_sounds_are_audible_varied_and_repeatable(kind):
    make = SYNTHESISERS[kind]
    first, again, other = (make(np.random.default_rng(seed), 3 * SAMPLE_RATE) for seed in (1, 1, 2))
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert 0.85 < np.abs(first).max() <= 1.0
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    for start in (0, 1):  # any two seconds hold the sound, which half a clip needs
        part = first[start * SAMPLE_RATE : (start + 2) * SAMPLE_RATE]
        assert np.abs(part).max() > 0.1


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_have_the_colour_they_are_named_by(shape):
    for colour, values in COLOURS.items():
        pixels = np.asarray(draw_shape(shape, values[0], 0.5)).astype(int)
        inside = pixels[pixels[..., 3] == 255][:, :3]
        assert len(inside) > 2000
        typical = {name: np.mean(rgbs, axis=0) for name, rgbs in COLOURS.items()}
        centre = np.median(inside, axis=0)
        assert min(typical, key=lambda name: np.abs(typical[name] - centre).sum()) == colour


def test_midi_phrases_keep_to_their_slots(tmp_path):
    phrases = []
    for instrument in INSTRUMENTS.values():
        notes = phrase(instrument, random.Random(3))
        assert notes
        assert all(0 <= start < SOUND_SECONDS and 0 <= note < 128 for start, _, note, _ in notes)
        phrases.append((instrument.train[0], instrument.style == "drums", notes))
    path = tmp_path / "a.mid"
    write_midi(phrases, path)
    data = path.read_bytes()
    assert data[:4] == b"MThd"
    assert data[14:18] == b"MTrk"
    assert struct.unpack(">I", data[18:22])[0] == len(data) - 22
    # walk the delta times: the last event is the last slot's "all sound off"
    at, ticks = 22, 0
    while data[at:] != b"\xff\x2f\x00" and at < len(data):
        delta = 0
        while True:
            byte = data[at]
            at += 1
            delta = delta << 7 | byte & 0x7F
            if byte < 0x80:
                break
        if data[at] == 0xFF:
            break
        ticks += delta
        at += 2 if data[at] & 0xF0 == 0xC0 else 3
    assert ticks == round(((len(phrases) - 1) * SLOT_SECONDS + SOUND_SECONDS) * 960)
