import subprocess
import sys

import pytest

import videollama2

PROBE = """
import sys, time
start = time.process_time()
import videollama2
seconds = time.process_time() - start
heavy = [name for name in ("torch", "transformers", "numpy", "av", "PIL") if name in sys.modules]
print(seconds, ",".join(heavy) or "none", videollama2.__version__)
"""


def test_import_is_light_and_fast():
    # Seconds of this process, so that other work on the machine does not count.
    runs = [subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True) for _ in range(3)]
    outputs = [run.stdout.split() for run in runs]
    assert {output[1] for output in outputs} == {"none"}
    assert min(float(output[0]) for output in outputs) < 0.2


@pytest.mark.parametrize("name", sorted(set(videollama2.__all__) - {"__version__"}))
def test_every_public_name_resolves(name):
    value = getattr(videollama2, name)
    assert value.__name__ == name
    assert value.__doc__


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        videollama2.no_such_name  # noqa: B018


def test_all_and_homes_agree():
    assert set(videollama2.__all__) == {*videollama2._HOMES, "__version__"}
    assert dir(videollama2) == sorted(videollama2.__all__)


def test_official_helper_import():
    from videollama2.utils import disable_torch_init

    assert disable_torch_init() is None
