"""`attribute` on the tiny model: a duplicate comes first, old results stay, and a store is whole at any moment."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
from safetensors.torch import save_file

from explorer.store import Store
from precompute.cli.main import main
from precompute.config.run import RunConfig
from precompute.gradients.context import make_noise_bank
from precompute.gradients.fisher import invert_fisher, load_fisher
from precompute.gradients.steps import UnlearningStep
from precompute.index import attribution
from precompute.index.addition import extend_note
from precompute.index.clips import ClipRequest, parse_requests
from precompute.store import publication
from support import tiny

ROOT = Path(__file__).resolve().parents[3]
INDEX = "\n[index]\nwidth = 4096\nwidest = 4096\nshortlist = 10\n"


@pytest.fixture(scope="module")
def shop(fitted, tiny_root: Path) -> Path:
    """run.toml of a finished run and index of the longer trained tiny model."""
    out = tiny_root / "shop"
    out.mkdir()
    state = {name: value.detach().clone().contiguous() for name, value in fitted.network.state_dict().items()}
    save_file(state, out / "fitted.safetensors")
    changes = {"checkpoint": f'"{out}/fitted.safetensors"', "checkpoints": '""', "targets": "0", "cohort": "8"}
    path = tiny.write_run(tiny_root, out, **changes)
    path.write_text(path.read_text() + INDEX)
    assert main(["run", "--config", str(path)]) == 0
    assert main(["index", "--config", str(path)]) == 0
    return path


def copied(shop: Path, name: str) -> Path:
    """A copy of the store and its clips, at the same depth below the corpus."""
    folder = shop.parent.parent / name
    folder.mkdir()
    shutil.copytree(shop.parent / "clips", folder / "clips")
    shutil.copyfile(shop.parent / "store.duckdb", folder / "store.duckdb")
    return folder / "store.duckdb"


def rows(store: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def added(shop: Path) -> Path:
    """A store with two more clips: the audio of training track 5, and a prompt."""
    store = copied(shop, "added")
    audio, caption = shop.parent.parent / "corpus/audio/0005.wav", "a low plucked chord, fast"
    command = ["attribute", str(audio), "a high plucked chord, fast", "--caption", caption, "--seconds", "1.2"]
    assert main([*command, "--config", str(shop), "--store", str(store)]) == 0
    return store


def test_a_duplicate_of_a_track_is_found_first_and_exactly(added: Path, shop: Path) -> None:
    first = rows(added, "SELECT track_id, score, rank FROM scores WHERE clip_id = 4 ORDER BY rank LIMIT 1")[0]
    assert (first[0], first[2]) == (5, 1)
    exact = {row[0] for row in rows(added, "SELECT DISTINCT track_id FROM score_parts WHERE clip_id = 4")}
    assert 5 in exact and 10 <= len(exact) <= 20
    # parts of a score have the score as their mean, windows sum to it: for exact and estimated ones alike
    for sql, some in (
        ("SELECT track_id, avg(score) FROM score_parts WHERE clip_id = 4 GROUP BY track_id", exact),
        ("SELECT track_id, list_sum(influence) FROM clip_moments WHERE clip_id = 4", set(range(1, 33))),
    ):
        scores = dict(rows(added, "SELECT track_id, score FROM scores WHERE clip_id = 4"))
        found = dict(rows(added, sql))
        assert set(found) == some
        assert np.allclose(
            [found[i] for i in some], [scores[i] for i in some], rtol=1e-3, atol=1e-6 * max(scores.values())
        )
    assert rows(added, "SELECT count(*) FROM moments WHERE clip_id = 4 AND track_id = 5") == [(1,)]


def test_exact_scores_are_those_of_the_method(added: Path, shop: Path) -> None:
    """The shortlist's scores of the prompt's clip, by a gradient product in one go."""
    import torch

    from precompute.clips.generation import generate_latents
    from precompute.clips.prompts import Prompt
    from precompute.common.cache import Cache
    from precompute.corpus.intake import load_corpus
    from precompute.corpus.latents import load_latents
    from precompute.model.diffusion import load_model

    config = RunConfig.load(shop)
    model, corpus, cache = load_model(config), load_corpus(config), Cache(Path(config.output.work) / "cache")
    items, key = load_latents(model, corpus, config, cache)
    inverse = invert_fisher(load_fisher(model, items[:16], config, cache, key), config.fisher.damping)
    prompt = Prompt(5, "a high plucked chord, fast", 1.2, 0)
    clip = model.items([prompt.text], [prompt.seconds], generate_latents(model, [prompt], config.clips, "clip"))
    direction = UnlearningStep(config.unlearning, 16).compute_directions(model, clip, inverse, False)[:, 0].mean(0)
    near = rows(added, "SELECT DISTINCT track_id FROM score_parts WHERE clip_id = 5 ORDER BY track_id")[:3]
    scores = dict(rows(added, "SELECT track_id, score FROM scores WHERE clip_id = 5"))
    for (track_id,) in near:
        bank = make_noise_bank(config.bank)
        cells = tiny.scores_of_track(model, items[[track_id - 1]], direction[None], config.unlearning, bank)
        assert float(cells.mean()) == pytest.approx(scores[track_id], rel=1e-3)
    assert torch.get_num_threads() == 1


def test_derivatives_and_gradients_give_the_same_scores(shop: Path, added: Path, monkeypatch) -> None:
    """The way that is taken for one clip or two, and the one for more."""
    from precompute.index import exact

    store = copied(shop, "gradients")
    monkeypatch.setattr(exact, "FORWARD_MODE_CLIPS", 0)
    wanted = [ClipRequest(prompt="a high plucked chord, fast", seconds=1.2)]
    assert attribution.attribute_clips(RunConfig.load(shop), wanted, store) == [4]
    sql = "SELECT track_id, {} FROM {} WHERE clip_id = {} ORDER BY track_id"
    near = [row[0] for row in rows(store, "SELECT DISTINCT track_id FROM score_parts WHERE clip_id = 4")]
    for what, table in (("score", "scores"), ("std_error", "scores")):
        one, other = (dict(rows(path, sql.format(what, table, clip))) for path, clip in ((store, 4), (added, 5)))
        pairs = np.array([(one[i], other[i]) for i in near])
        assert np.allclose(pairs[:, 0], pairs[:, 1], rtol=1e-3 if what == "score" else 0.2), what
    moments = [dict(rows(p, sql.format("influence", "moments", c))) for p, c in ((store, 4), (added, 5))]
    shared = set(moments[0]) & set(moments[1])
    assert shared and all(np.allclose(moments[0][i], moments[1][i], rtol=1e-3, atol=1e-12) for i in shared)


def test_all_that_was_there_stays(added: Path, shop: Path) -> None:
    before, after = tiny.tables(shop.parent / "store.duckdb"), tiny.tables(added)
    for table, old in before.items():
        if table in ("window_sums", "store_info"):
            continue
        kept = {repr(row) for row in after[table]}
        assert all(repr(row) in kept for row in old), table
        more = {"clips": 2, "scores": 64, "summaries": 2, "clip_moments": 64}.get(table)
        assert more is None or len(after[table]) == len(old) + more, table
    note = rows(added, "SELECT note FROM store_info")[0][0]
    assert "Clips added later (4, 5)" in note and "of 32) have exact scores" in note
    opened = Store(added)
    kinds = {clip.clip_id: (clip.kind, clip.prompt) for clip in opened.clips.list_scored()}
    assert kinds[4] == ("user", "a low plucked chord, fast") and kinds[5][0] == "generated"
    for clip_id in (4, 5):
        path = added.parent / "clips" / str(opened.clips.read_sound(clip_id).audio_path)
        assert path.is_file() and opened.clips.read_sound(clip_id).peaks
    opened.close()
    assert rows(added, "SELECT title, seed, conditioning FROM clips WHERE clip_id > 3 ORDER BY clip_id") == [
        ("0005.wav", None, "prompt"),
        (None, 0, "prompt"),
    ]


def test_a_file_without_words_is_heard_by_clap(shop: Path) -> None:
    from precompute.index.clips import make_clip
    from precompute.model.diffusion import load_model

    config = RunConfig.load(shop)
    model = load_model(config)
    audio = shop.parent.parent / "corpus/audio/0003.wav"
    clip = make_clip(model, ClipRequest(audio=audio, title="x"), config)
    assert (clip.describe(4).kind, clip.conditioning, clip.items.prompts) == ("user", "clap_audio", ("",))
    assert abs(float(clip.items.embeddings.norm()) - 1) < 1e-4
    assert not np.allclose(clip.items.embeddings, model.embed_prompts([""]))


def test_a_fault_while_publishing_leaves_the_store_and_no_audio(shop: Path, monkeypatch) -> None:
    store = copied(shop, "fault")
    before = hashlib.sha256(store.read_bytes()).hexdigest()

    def stop(connection: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publication, "finish_store", stop)
    with pytest.raises(KeyboardInterrupt):
        attribution.attribute_clips(RunConfig.load(shop), [ClipRequest(prompt="a low chord", seconds=1.0)], store)
    assert hashlib.sha256(store.read_bytes()).hexdigest() == before
    assert sorted(p.name for p in store.parent.iterdir()) == ["clips", "store.duckdb"]
    assert len(list((store.parent / "clips").iterdir())) == 3
    assert not list((shop.parent / "work").glob("attribute-*"))


def test_killed_in_the_middle_the_store_is_the_old_one(shop: Path, environment) -> None:
    store = copied(shop, "killed")
    before = hashlib.sha256(store.read_bytes()).hexdigest()
    command = [sys.executable, "-u", "-m", "precompute", "attribute", "--prompt", "a low chord", "--seconds", "1"]
    command += ["--config", str(shop), "--store", str(store)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert any(line.startswith("search") for line in process.stdout)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert hashlib.sha256(store.read_bytes()).hexdigest() == before
    Store(store).close()
    left = shop.parent / "work" / f"attribute-{process.pid}"
    if left.exists():  # what it had kept is removed by the next one
        with attribution._open_scratch(shop.parent / "work"):
            assert not left.exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "name an audio file or a prompt"),
        (["nowhere.wav"], "nowhere.wav: no such audio file"),
        (["a chord", "--store", "nowhere.duckdb"], "nowhere.duckdb: no store here"),
        (["a chord", "--seconds", "99"], "this model makes clips of at most 2 s"),
    ],
)
def test_mistakes_end_in_one_line(shop: Path, capsys, arguments: list[str], named: str) -> None:
    assert main(["attribute", *arguments, "--config", str(shop)]) == 1
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1


def test_a_store_of_other_tracks_or_weights_is_refused(shop: Path, capsys) -> None:
    store = copied(shop, "strange")
    for change, named in (
        ("UPDATE runs SET model_sha256 = 'abc'", "its scores are of another model"),
        ("UPDATE methods SET settings_json = '{}'", "the index with"),
        ("UPDATE methods SET name = 'other'", "holds no scores by unlearning"),
    ):
        with duckdb.connect(str(store)) as connection:
            connection.execute(change)
        assert main(["attribute", "a chord", "--config", str(shop), "--store", str(store)]) == 1
        error = capsys.readouterr().err
        assert named in error and error.count("\n") == 1


def test_inputs_are_parse_requests(tmp_path: Path) -> None:
    file = tmp_path / "song"
    file.write_bytes(b"x")
    wanted = parse_requests([str(file), "a waltz"], ["another"], [], caption="words", seed=3)
    assert [(w.audio, w.prompt, w.title, w.seed) for w in wanted] == [
        (file, "words", "song", 0),
        (None, "a waltz", "", 3),
        (None, "another", "", 3),
    ]


def test_the_note_names_all_added_clips_once() -> None:
    note = extend_note("A quick run.", [20], 30, 600)
    again = extend_note(note, [21, 22], 31, 600)
    assert again.startswith("A quick run. Clips added later (20, 21, 22):") and again.count("added") == 1
    assert "31 of 600" in again


def test_stages_are_told_in_seconds() -> None:
    watch = attribution.Stopwatch()
    watch.end_stage("model")
    watch.end_stage("exact scores")
    assert re.fullmatch(r"model \d+\.\d s, exact scores \d+\.\d s", str(watch))
    assert watch.total_s == pytest.approx(sum(watch.spent.values()))
