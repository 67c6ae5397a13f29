import numpy as np
import pytest

from videollama2.world.assets import Catalogue
from videollama2.world.dataset import sample
from videollama2.world.scene import KINDS
from videollama2.world.sounding import SOUND_NAMES
from videollama2.world.stand_in import build_stand_in
from videollama2.world.words import NEW_WORDS, WORDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_stand_in(tmp_path_factory.mktemp("stand_in"), num_nouns=40, instances=1)


def test_every_kind_of_scene_can_be_drawn_without_a_download(folder):
    catalogue = Catalogue(folder)
    assert set(catalogue.sound_kinds("train")) == set(SOUND_NAMES)
    assert set(catalogue.words("test", new=True)) == set(NEW_WORDS)
    assert set(catalogue.words("train")) == set(WORDS)
    for kind in KINDS:
        one = sample("test", 0, 1, kind=kind, size=64, assets=catalogue)
        assert one.frames.shape == (8, 64, 64, 3)
        assert one.frames.std() > 5
        assert len(one.questions) >= 4


def test_things_differ_by_their_noun_more_than_by_their_style(folder):
    catalogue = Catalogue(folder)

    def picture(noun, split):
        image = catalogue.sprite(catalogue.drawings(noun, split)[0][0]).resize((32, 32))
        return np.asarray(image.convert("RGB"), dtype=float) * (np.asarray(image)[..., 3:] > 0)

    nouns = catalogue.nouns("train")[:20]
    train, test = ([picture(noun, split) for noun in nouns] for split in ("train", "test"))
    found = [min(range(20), key=lambda k: np.abs(train[k] - shown).mean()) for shown in test]
    assert sum(k == own for own, k in enumerate(found)) >= 18
