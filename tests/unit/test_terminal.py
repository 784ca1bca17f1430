"""A finding, and how far a run is, as the terminal shows them."""

import json
import os

from mergetrace.readable import duration
from mergetrace.report.terminal import findings
from mergetrace.running.progress import overview
from mergetrace.testing.reporting import finding


def shown(tmp_path, verdict) -> list[str]:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "verdict.json").write_text(json.dumps(verdict))
    (folder / "report.html").touch()
    return findings(tmp_path, ["demo", "never-run"], {}, colour=False).splitlines()


def test_terminal_shows_a_finding_in_eleven_lines(tmp_path):
    lines = shown(tmp_path, finding())
    text = "\n".join(lines)
    assert len([line for line in lines if line]) <= 11
    for expected in (
        "rio is a blend: 57.1 % nex",
        "nex 57.1 % (57.090 to 57.110 %)",
        "99.996 %",
        "tuiuti (finetune of base)",
        "Nex 119/120",
        "demo/report.html",
    ):
        assert expected in text
    assert "\x1b" not in text
    assert "never-run" not in text


def test_progress_says_how_many_how_fast_and_how_long(tmp_path):
    own = tmp_path / "x"
    (own / "deltas").mkdir(parents=True)
    (own / "layout.json").write_text(
        json.dumps({"batches": [*map(str, range(10)), "outer"]})
    )
    for layer in range(4):
        (own / f"deltas/{layer}.parquet").touch()
        os.utime(
            own / f"deltas/{layer}.parquet", (1000 + 30 * layer, 1000 + 30 * layer)
        )
    (tmp_path / "logs/deltas").mkdir(parents=True)
    (tmp_path / "logs/deltas/x.4.log").write_text(
        "first\nlayer 4: 3 of 7 slices\x1b[2J, 1.2 GB\n"
    )
    os.utime(tmp_path / "logs/deltas/x.4.log", (1095, 1095))
    said = overview(tmp_path, 1100)
    assert (
        said[0] == "x: weights read 4 of 11, 2 a minute, 3 min left"
    )  # 7 layers of 30 s each, of which 10 s have passed
    assert said[1:4] == [
        "x: slices fitted 0 of 11",
        "x: recipe, verdict 0 of 4",
        "x: report, evidence 0 of 2",
    ]
    assert said[4] == "deltas/x.4: layer 4: 3 of 7 slices⟨U+001B⟩[2J, 1.2 GB"
    assert duration(3 * 3600 + 300) == "3 h 05 min"


def test_terminal_survives_missing_pieces(tmp_path):
    verdict = finding("inconclusive", named=False, share=None) | {
        "probe": None,
        "controls": {},
    }
    verdict["parents"]["nex"] |= {"alpha": None, "alpha_ci95": None}
    text = "\n".join(shown(tmp_path, verdict))
    assert "We cannot tell" in text
    assert "No independent control was given" in text
    assert "nobody asked" in text
