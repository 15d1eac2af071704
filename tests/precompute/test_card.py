"""The model card's tables: every number comes from a kept result, and writing twice changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from precompute.errors import UserError
from precompute.evaluate.card import write_card

NAMES = ("autoencoder", "learning", "quality", "training", "sweep", "planted", "null", "calibration")


def measure(name: str, of: str, value: float, space: str = "", spread: float = 0.1) -> dict[str, object]:
    return {"measure": name, "space": space, "of": of, "value": value, "low": value - spread, "high": value + spread}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A card with every mark, and results for some of them."""
    marks = "\n".join(f"## {name}\n\n<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in NAMES)
    (tmp_path / "CARD.md").write_text(f"# Card\n\n{marks}\nThe end.\n")
    losses = [{"step": 50, "train": 0.5, "decoy": 0.625}]
    quality = {"si_sdr_db": 7.25, "stft_distance": 1.25}
    reconstruction = [{"step": 9, "train": quality, "decoy": quality}]
    (tmp_path / "model-card.json").write_text(json.dumps({"losses": losses, "reconstruction": reconstruction}))
    rows = [
        measure("si_sdr_db", "decoys", 7.25, spread=1),
        measure("band_error_db", "0-1000 Hz", 3.0),
        measure("silence_db", "decoys", -80, spread=0),
        measure("frechet_ratio", "clips", 1.375, "clap"),
        measure("accuracy", "decoys", 0.9),
    ]
    line = {"step": 50, "measures": [measure("frechet_ratio", "clips", 2.0, "descriptors")]}
    (tmp_path / "demo-quality.json").write_text(json.dumps({"rows": rows, "training": [line]}))
    row = {"modes": 2, "auc": 0.51, "auc_least": 0.4, "auc_most": 0.6, "decoys_top10": 0.5}
    row |= {name: 0.0 for name in ("clips_tracks", "clips_decoys", "mirrored_clips_tracks", "mirrored_clips_decoys")}
    (tmp_path / "demo-calibration.json").write_text(json.dumps({"rows": [{**row, "tracks": 12, "decoys": 0}]}))
    return tmp_path


def test_tables_hold_the_results(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_card(folder / "CARD.md", folder, folder / "model-card.json")
    text = (folder / "CARD.md").read_text()
    for line in (
        "| SI-SDR, dB | 7.2 [6.2, 8.2] |",
        "| error of the spectrum's level, dB, 0-1000 Hz | 3.0 [2.9, 3.1] |",
        "| level of decoded silence, dBFS | -80.0 |",
        "| 9 | 7.25 | 7.25 | 1.25 | 1.25 |",
        "| clips / decoys (wanted: at most 1.5) | 1.38 [1.27, 1.48] | – |",
        "| instrument heard as asked for | 90% [80%, 100%] | – |",
        "| 50 | 0.500 | 0.625 | – | 2.00 [1.90, 2.10] | – | – | – |",
        "| 2 | 0.51 (0.40 to 0.60) | 0%, 12 | 0%, 0 | 0%, 0% | 50% |",
    ):
        assert line in text, line
    assert text.startswith("# Card\n") and text.endswith("\nThe end.\n") and text.count("old") == 3
    said = capsys.readouterr().out
    assert all(f"demo-{name}.json: not here" in said for name in ("sweep", "planted", "null"))
    write_card(folder / "CARD.md", folder, folder / "model-card.json")
    assert (folder / "CARD.md").read_text() == text


def test_a_card_without_a_mark_is_refused_and_left(folder: Path) -> None:
    text = (folder / "CARD.md").read_text().replace("<!-- /sweep -->", "")
    (folder / "CARD.md").write_text(text)
    with pytest.raises(UserError, match="<!-- sweep -->"):
        write_card(folder / "CARD.md", folder, folder / "model-card.json")
    assert (folder / "CARD.md").read_text() == text
    with pytest.raises(UserError, match="no model card here"):
        write_card(folder / "none.md", folder, folder / "model-card.json")
