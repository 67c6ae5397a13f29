"""The parity report: the cheap groups pass, and what is wrong is said to be wrong."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import parity
from benchmarks.parity_groups.measure import Table, deviation

CHEAP = ["sampling", "training", "connectors", "beats"]


@pytest.fixture(scope="module")
def table():
    return parity.compare(CHEAP)


def test_groups_pass_with_the_golden_numbers_of_cases(table):
    assert not table.failed
    rows = table.rows
    assert rows["sampling", "uniform indices"].cases == 395
    assert rows["BEATs", "features"].cases == 6
    connectors = {group for group, _ in rows if group.startswith("connector ")}
    assert len(connectors) == 7
    assert all(rows[group, "gradient of the input"].deviation < 1e-5 for group in connectors)
    assert rows["connector stc_connector", "output"].deviation > 0


def test_a_deviation_beyond_the_tolerance_fails():
    table = Table()
    golden = torch.tensor([1.0, -4.0])
    table.close("g", "within", "a", golden * (1 + 9e-6), golden, 1e-5)
    table.close("g", "beyond", "a", golden * (1 + 2e-5), golden, 1e-5)
    table.close("g", "not a number", "a", golden * float("nan"), golden, 1e-5)
    table.close("g", "shape", "a", golden[:1], golden, 1e-5)
    table.equal("g", "ids", "a", [1, 2], [1, 2])
    table.equal("g", "ids", "b", [1, 2], [1, 3])
    table.refuses("g", "answers", lambda: None)
    assert table.rows["g", "within"].verdict == "PASS"
    assert [row.quantity for row in table.failed] == [
        "beyond",
        "not a number",
        "shape",
        "ids",
        "refused where the official code fails",
    ]
    assert table.rows["g", "ids"].worst == "b"


def test_units():
    assert deviation([1.0, 2.0], [1.0, 1.0], "absolute") == 1.0
    assert deviation([1.0, 5.0], [1.0, 4.0]) == 0.25
    one = torch.tensor([1.0, -1.0, 0.0])
    assert deviation(one, one.bfloat16(), "bf16 steps") == 0
    assert deviation(one * (1 + 2**-7), one, "bf16 steps") == 1
    assert deviation(torch.tensor([-1e-45]), torch.tensor([0.0]), "bf16 steps") == 0


def test_media_that_are_not_shipped_are_counted(tmp_path):
    assert Table().find("official:serve/examples/a.mp4") is None
    (tmp_path / "a.mp4").touch()
    assert Table(media=tmp_path).find("official:serve/examples/a.mp4") == tmp_path / "a.mp4"


def test_exit_code_page_and_last_line(monkeypatch, tmp_path, capsys):
    def stops(table):
        raise RuntimeError("broken")

    assert parity.main(["--only", "sampling", "--markdown", str(tmp_path / "parity.md")]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["parity"] == "PASS"
    assert summary["machine"]["cores"] >= 1
    assert "torch" in summary["versions"]
    page = Path(tmp_path / "parity.md").read_text()
    assert "| sampling | uniform indices | 395 | 0 | 0 | cases | PASS |" in page
    monkeypatch.setitem(parity.GROUPS, "sampling", stops)
    assert parity.main(["--only", "sampling"]) == 1
    captured = capsys.readouterr()
    assert "broken" in captured.err
    assert json.loads(captured.out.splitlines()[-1])["failed"][0]["worst"] == "broken"
