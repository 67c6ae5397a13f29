"""Media of the tests of the data, made once."""

import pytest

from training.data_world import write_media


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    return write_media(tmp_path_factory.mktemp("media") / "media")
