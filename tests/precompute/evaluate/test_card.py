"""The model card's tables: every number comes from a kept result, and writing twice changes nothing."""

from __future__ import annotations

import hashlib
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
        measure("ringing_db", "clips", 4.0, "500-2000 Hz", spread=1),
    ]
    line = {"step": 50, "measures": [measure("frechet_ratio", "clips", 2.0, "descriptors")]}
    (tmp_path / "demo-quality.json").write_text(json.dumps({"rows": rows, "training": [line]}))
    row = {"method": "dtrak", "clips_with_finding": 0.08, "low": 0.05, "high": 0.09, "could_fire": 1.0}
    row |= {"caption_p01": 0.01, "caption_p05": 0.04, "style_p01": None, "style_p05": None, "reliability": 0.93}
    found = {"method": "dtrak", "planted": "weighted", "found": 8, "of": 8, "low": 0.63, "high": 1.0}
    (tmp_path / "demo-calibration.json").write_text(json.dumps({"rows": [row], "power": [found]}))
    return tmp_path


def test_tables_hold_the_results(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_card(folder / "CARD.md", folder, folder / "model-card.json")
    text = (folder / "CARD.md").read_text()
    for line in (
        "| SI-SDR, dB | 7.2 [6.2, 8.2] |",
        "| error of the spectrum's level, dB, 0-1000 Hz | 3.0 [2.9, 3.1] |",
        "| level of decoded silence, dBFS | -80.0 |",
        "| 9 | 7.25 | 7.25 | 1.25 | 1.25 |",
        "| 500-2000 Hz | – | – | 4.0 [3.0, 5.0] |",
        "| clips / decoys (wanted: at most 1.5) | 1.38 [1.27, 1.48] | – |",
        "| instrument heard as asked for | 90% [80%, 100%] | – |",
        "| 50 | 0.500 | 0.625 | – | 2.00 [1.90, 2.10] | – | – | – |",
        "| dtrak | 8.0% [5.0%, 9.0%] | 100% | 1.0%, 4.0% | – | 0.93 |",
        "| dtrak | 8 of 8 [63%, 100%] |",
    ):
        assert line in text, line
    assert text.startswith("# Card\n") and text.endswith("\nThe end.\n") and "old" not in text
    said = capsys.readouterr().out
    for name in ("sweep", "planted", "null"):
        assert f"demo-{name}.json: not here" in said
        assert f"\nNot measured on this model: `python -m precompute evaluate {name}` does it.\n" in text
    write_card(folder / "CARD.md", folder, folder / "model-card.json")
    assert (folder / "CARD.md").read_text() == text


def written(folder: Path) -> str:
    write_card(folder / "CARD.md", folder, folder / "model-card.json")
    return (folder / "CARD.md").read_text()


def test_planted_truths_are_a_line_for_each_method(folder: Path) -> None:
    def row(truth: str, method: str, score: str, name: str, value: float, **interval: float) -> dict[str, object]:
        return {"truth": truth, "method": method, "score": score, "name": name, "value": value, **interval}

    rows = [
        row("weighted", "loss", "", "mean_weighted", 0.4),
        row("weighted", "loss", "", "mean_twin", 0.5),
        row("weighted", "loss", "", "weighted_minus_twin", -0.1, low=-0.2, high=-0.05),
        row("weighted", "unlearning", "raw", "share_above_twin", 0.75, low=0.5, high=1.0),
        row("weighted", "unlearning", "normalised", "share_above_twin", 0.8, low=0.6, high=1.0),
        row("weighted", "clap", "raw", "share_above_twin", 0.5, low=0.25, high=0.75),
        row("weighted", "random", "", "share_above_twin", 0.5),
        row("exemplars", "unlearning", "raw", "mean_rank", 3.0, low=1.0, high=5.0),
        row("exemplars", "unlearning", "raw", "mean_rank_untuned", 9.0),
        row("exemplars", "random", "", "mean_rank", 195.0),
    ]
    skipped = [{"method": "tracin", "truth": "exemplars", "reason": "a reason"}]
    (folder / "demo-planted.json").write_text(json.dumps({"rows": rows, "skipped": skipped}))
    text = written(folder)
    for line in (
        "Mean loss of the weighted 0.400, of the twins 0.500, difference -0.100 [-0.200, -0.050].",
        "| method | above its twin, raw | above its twin, normalised |",
        "| unlearning | 0.75 [0.50, 1.00] | 0.80 [0.60, 1.00] |",
        "| clap | 0.50 [0.25, 0.75] | – |",
        "| *by chance* | 0.50 | 0.50 |",
        "| unlearning | 3.0 [1.0, 5.0] | – | 9.0 | – | – | – | – | – |",
        "| *by chance* | 195.0 | 195.0 | – | – | – | – | – | – |",
        "Not judged: tracin by exemplars (a reason).",
    ):
        assert line in text, line
    assert "A rare style" not in text

    rows = [row("rare", "loss", "", "mean_heard", 0.25), row("rare", "loss", "", "mean_unheard", 0.5)]
    rows += [row("rare", "dtrak", "raw", "auc_over_unheard", 0.85), row("rare", "dtrak", "raw", "p_value", 0.014)]
    (folder / "demo-planted.json").write_text(json.dumps({"rows": rows}))
    text = written(folder)
    assert "A rare style" in text and "Mean loss of the heard 0.250, of the unheard 0.500." in text
    assert "| dtrak | – | – | – | – | 0.85 | – | 0.014 | – |" in text


def test_controls_are_a_column_for_each_method_and_score(folder: Path) -> None:
    def row(method: str, score: str, name: str, value: float, wanted: str) -> dict[str, object]:
        place = {"method": method, "control": "random weights", "case": "", "score": score}
        return {**place, "name": name, "value": value, "wanted": wanted}

    rows = [row("a", "", "nothing_above_noise", 1.0, ">= 0.95"), row("a", "raw", "auc", 0.5, "0.5")]
    rows += [row("b", "raw", "auc", 0.625, "0.5"), row("b", "normalised", "auc", 0.4, "0.5")]
    (folder / "demo-null.json").write_text(json.dumps({"rows": rows}))
    text = written(folder)
    assert "| control | case | measure | a, raw | a, normalised | b, raw | b, normalised | wanted |" in text
    assert "| random weights |  | nothing above noise | – | 1.00 | – | – | >= 0.95 |" in text
    assert "| random weights |  | auc | 0.50 | – | 0.62 | 0.40 | 0.5 |" in text


def test_results_of_other_weights_count_as_missing(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")
    path = folder / "demo-quality.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "model_sha256": hashlib.sha256(b"weights").hexdigest()}))
    assert "| SI-SDR, dB | 7.2 [6.2, 8.2] |" in written(folder)
    path.write_text(json.dumps({**kept, "model_sha256": hashlib.sha256(b"others").hexdigest()}))
    text = written(folder)
    assert "SI-SDR, dB | 7.2 [6.2" not in text and text.count("Not measured on these weights") == 2
    assert "| 50 | 0.500 | 0.625 |\n\nDistances of clips: not measured on these weights" in text


def test_losses_are_told_without_distances(folder: Path) -> None:
    (folder / "demo-quality.json").unlink()
    text = written(folder)
    assert "| 50 | 0.500 | 0.625 |" in text and "Distances of clips: not measured on this model" in text
    (folder / "model-card.json").unlink()
    assert "Not measured on this model: `python -m precompute train-demo` does it." in written(folder)


def test_the_demos_own_card_has_every_mark(tmp_path: Path) -> None:
    demo = Path(__file__).resolve().parents[3] / "assets/demo"
    (tmp_path / "CARD.md").write_text((demo / "MODEL_CARD.md").read_text())
    write_card(tmp_path / "CARD.md", tmp_path, demo / "model-card.json")
    text = (tmp_path / "CARD.md").read_text()
    assert text.count("Not measured on this model") == 6 and "| training step |" in text


def test_a_card_without_a_mark_is_refused_and_left(folder: Path) -> None:
    whole = (folder / "CARD.md").read_text()
    text = whole.replace("<!-- /sweep -->", "")
    (folder / "CARD.md").write_text(text)
    with pytest.raises(UserError, match="<!-- sweep -->"):
        write_card(folder / "CARD.md", folder, folder / "model-card.json")
    assert (folder / "CARD.md").read_text() == text
    (folder / "CARD.md").write_text(whole)
    (folder / "demo-null.json").write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        write_card(folder / "CARD.md", folder, folder / "model-card.json")
    with pytest.raises(UserError, match="no model card here"):
        write_card(folder / "none.md", folder, folder / "model-card.json")
