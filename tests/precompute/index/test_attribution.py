"""`attribute` on the tiny model: a duplicate comes first, old results stay, and a store is whole at any moment."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest
import soundfile
from safetensors.torch import save_file

from explorer.store import Store
from precompute.cli.main import main
from precompute.common.files import open_scratch
from precompute.config.run import RunConfig
from precompute.index import attribution
from precompute.index.addition import extend_note
from precompute.index.clips import ClipRequest, parse_requests
from precompute.store import publication
from support import tiny

ROOT = Path(__file__).resolve().parents[3]
INDEX = "\n[index]\nwidth = 4096\nwidest = 4096\nshortlist = 10\n"
METHODS = '\n[methods]\nrun = ["unlearning", "clap", "dtrak"]\ndefault = "dtrak"\n[methods.dtrak]\nwidth = 4096\n'
AGAIN = ("a high plucked chord, fast", 1.2, 0)  # the run's clip 4, which is attributed once more
UNLEARNING, DTRAK = 1, 3


@pytest.fixture(scope="module")
def shop(fitted, tiny_root: Path) -> Path:
    """run.toml of a finished run and index of the longer trained tiny model."""
    out = tiny_root / "shop"
    out.mkdir()
    state = {name: value.detach().clone().contiguous() for name, value in fitted.network.state_dict().items()}
    save_file(state, out / "fitted.safetensors")
    (out / "prompts.csv").write_text(tiny.PROMPTS + '4,"{}",{},{}\n'.format(*AGAIN))
    changes = {"checkpoint": f'"{out}/fitted.safetensors"', "checkpoints": '""', "targets": "0", "cohort": "8"}
    path = tiny.write_run(tiny_root, out, prompts=f'"{out}/prompts.csv"', **changes)
    path.write_text(path.read_text() + METHODS + INDEX)
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
    """A store with two more clips: 5, the audio of training track 5; 6, the prompt of the run's clip 4."""
    store = copied(shop, "added")
    audio, caption = shop.parent.parent / "corpus/audio/0005.wav", "a low plucked chord, fast"
    command = ["attribute", str(audio), AGAIN[0], "--caption", caption, "--seconds", str(AGAIN[1])]
    assert main([*command, "--config", str(shop), "--store", str(store)]) == 0
    return store


def read_scores(store: Path, method: int, clip: int, what: str = "score") -> dict[int, float]:
    return dict(rows(store, f"SELECT track_id, {what} FROM scores WHERE method_id = {method} AND clip_id = {clip}"))


@pytest.mark.parametrize("method", [UNLEARNING, DTRAK])
def test_parts_add_up_and_unlearning_finds_a_duplicate_first(added: Path, method: int) -> None:
    of = f"method_id = {method} AND clip_id = 5"
    scores = read_scores(added, method, 5)
    parts = dict(rows(added, f"SELECT track_id, avg(score) FROM score_parts WHERE {of} GROUP BY track_id"))
    if method == UNLEARNING:
        assert rows(added, f"SELECT track_id, rank FROM scores WHERE {of} ORDER BY rank LIMIT 1") == [(5, 1)]
        assert 5 in parts and 10 <= len(parts) <= 20
    # parts of a score have the score as their mean, windows sum to it: for exact and estimated ones alike
    windows = dict(rows(added, f"SELECT track_id, list_sum(influence) FROM clip_moments WHERE {of}"))
    assert set(windows) == set(range(1, 33))
    for found in (parts, windows):
        wanted = [scores[i] for i in found]
        assert np.allclose([found[i] for i in found], wanted, rtol=1e-3, atol=1e-6 * max(scores.values()))
    best = f"SELECT track_id FROM scores WHERE {of} AND train_rank <= 3"
    assert rows(added, f"SELECT count(*) FROM moments WHERE {of} AND track_id IN ({best})")[0][0] >= (
        1 if method == UNLEARNING else 3
    )


@pytest.mark.parametrize("method", [UNLEARNING, DTRAK])
def test_a_clip_of_the_run_gets_the_run_s_scores_again(added: Path, method: int) -> None:
    """By D-TRAK every track's, by unlearning those of the shortlist."""
    near = set(range(1, 33))
    if method == UNLEARNING:
        near = {row[0] for row in rows(added, "SELECT track_id FROM score_parts WHERE method_id = 1 AND clip_id = 6")}
    # errors by unlearning lean on the other tracks: here on those of the shortlist, in a run on all
    for what, rel in (("score", 1e-3), ("std_error", 0.03 if method == DTRAK else np.inf), ("match_bin", 0)):
        before, after = (read_scores(added, method, clip, what) for clip in (4, 6))
        pairs = np.array([(before[i], after[i]) for i in near])
        spread = np.std(list(before.values()))
        assert np.abs(pairs[:, 0] - pairs[:, 1]).max() <= rel * spread, what
    errors = np.array([[read_scores(added, method, clip, "std_error")[i] for i in near] for clip in (4, 6)])
    assert 0.4 < float(np.median(errors[1] / errors[0])) < 2.5
    assert set(read_scores(added, method, 6)) == set(range(1, 33))
    sql = f"SELECT track_id, influence FROM moments WHERE method_id = {method} AND clip_id = {{}}"
    one, other = (dict(rows(added, sql.format(clip))) for clip in (4, 6))
    assert set(one) & set(other)
    for track in set(one) & set(other):
        assert np.allclose(one[track], other[track], rtol=0, atol=1e-3 * np.abs(one[track]).max())


def test_sketches_in_full_precision_give_the_run_s_scores_to_rounding(shop: Path, tmp_path: Path) -> None:
    store, folder = copied(shop, "precise"), tmp_path / "precise.index"
    path = tmp_path / "run.toml"
    path.write_text(shop.read_text() + f'folder = "{folder}"\nprecision = "fp32"\n')
    assert main(["index", "--config", str(path)]) == 0
    wanted = [ClipRequest(prompt=AGAIN[0], seconds=AGAIN[1])]
    assert attribution.attribute_clips(RunConfig.load(path), wanted, store) == [5]
    for what, rel in (("score", 2e-5), ("std_error", 1e-3), ("list_sum(influence)", 2e-5)):
        table = "clip_moments" if "influence" in what else "scores"
        sql = f"SELECT {what} FROM {table} WHERE method_id = {DTRAK} AND clip_id = {{}} ORDER BY track_id"
        one, other = (np.array(rows(store, sql.format(clip))) for clip in (4, 5))
        assert np.abs(one - other).max() <= rel * np.std(one), what  # the clip was generated in another batch


def test_a_track_that_was_taken_out_leaves_the_ridge(shop: Path, tmp_path: Path) -> None:
    """D-TRAK's scores after `remove`: the dense formula on the tracks that are left, each left out of its own ridge."""
    from precompute.common.cache import Cache
    from precompute.corpus.intake import load_corpus
    from precompute.methods.catalogue import build_method
    from precompute.model.diffusion import load_model
    from precompute.pipeline import make_context

    store, folder, path, gone = copied(shop, "fewer"), tmp_path / "fewer.index", tmp_path / "run.toml", 3
    shutil.copytree(shop.parent / "store.index", folder)
    path.write_text(shop.read_text() + f'folder = "{folder}"\n')
    assert main(["remove", str(gone), "--store", str(store), "--index", str(folder)]) == 0
    assert main(["attribute", AGAIN[0], "--seconds", "1.2", "--config", str(path), "--store", str(store)]) == 0
    config = RunConfig.load(shop)
    cache = Cache(Path(config.output.work) / "cache")
    context, _ = make_context(load_model(config), load_corpus(config), config, cache)
    method = build_method("dtrak", config, 16)
    context = method.focus(context)
    x = method.load_clips(context).stored[3].mean(0).astype(float)
    rows_of = method.gather_records(context)["sketches"]["sketches"].mean(1).astype(float)
    left = [row for row in range(16) if row + 1 != gone]
    damping = 0.1 * np.square(rows_of[left]).sum(1).mean()

    def score(track: int) -> float:
        a = rows_of[[row for row in left if row != track]]
        return float(x @ np.linalg.solve(a.T @ a + damping * np.eye(len(x)), rows_of[track]))

    found = read_scores(store, DTRAK, 5)
    wanted = {track + 1: score(track) for track in (0, 7, 15, 16, 31)}
    assert gone not in found and len(found) == 31
    spread = np.std(list(found.values()))
    for track_id, value in wanted.items():
        assert abs(found[track_id] - value) <= 1e-3 * spread
    [(note,)] = rows(store, "SELECT note FROM store_info")
    assert "1 track was taken out" in note and "The model still contains" in note and "Clips added later (5)" in note


def test_claims_about_a_new_clip_rest_on_its_own_bins_and_the_cohort_s(added: Path, shop: Path) -> None:
    sql = (
        "SELECT s.method_id, s.clip_id, match_bin, count(*) FILTER (NOT is_decoy), count(*) FILTER (is_decoy)"
        " FROM scores s JOIN tracks USING (track_id) WHERE clip_id > 4 AND match_bin > 0 GROUP BY ALL ORDER BY ALL"
    )
    counted = rows(
        added, "SELECT method_id, clip_id, match_bin, candidates, decoys FROM match_bins WHERE clip_id > 4 ORDER BY ALL"
    )
    assert rows(added, sql) == counted and {row[0] for row in counted} == {UNLEARNING, DTRAK}
    # the cohort's eight clips and the two new ones give nulls, the run's own clips are in its store alone
    [(most,)] = rows(added, "SELECT max(null_rows) FROM match_bins WHERE clip_id > 4")
    assert 0 < most <= 10 * 16
    odd = "SELECT count(*) FROM scores WHERE clip_id > 4 AND {}"
    assert rows(added, odd.format("match_bin = 0 AND p_value IS NOT NULL")) == [(0,)]
    assert rows(added, odd.format("above_noise <> coalesce(q_value <= 0.10, false)")) == [(0,)]
    assert rows(added, odd.format("p_value IS NOT NULL"))[0][0] > 0
    claims = "SELECT * FROM track_claims ORDER BY ALL"
    assert rows(added, claims) == rows(shop.parent / "store.duckdb", claims)


def test_derivatives_and_gradients_give_the_same_scores(shop: Path, added: Path, monkeypatch) -> None:
    """The way that is taken for one clip or two, and the one for more."""
    from precompute.index import exact

    store = copied(shop, "gradients")
    monkeypatch.setattr(exact, "FORWARD_MODE_CLIPS", 0)
    wanted = [ClipRequest(prompt=AGAIN[0], seconds=AGAIN[1])]
    assert attribution.attribute_clips(RunConfig.load(shop), wanted, store) == [5]
    sql = "SELECT track_id, {} FROM {} WHERE method_id = 1 AND clip_id = {} ORDER BY track_id"
    near = [row[0] for row in rows(store, "SELECT DISTINCT track_id FROM score_parts WHERE clip_id = 5")]
    for what, table in (("score", "scores"), ("std_error", "scores")):
        one, other = (dict(rows(path, sql.format(what, table, clip))) for path, clip in ((store, 5), (added, 6)))
        pairs = np.array([(one[i], other[i]) for i in near])
        assert np.allclose(pairs[:, 0], pairs[:, 1], rtol=1e-3 if what == "score" else 0.3), what
    moments = [dict(rows(p, sql.format("influence", "moments", c))) for p, c in ((store, 5), (added, 6))]
    shared = set(moments[0]) & set(moments[1])
    assert shared and all(np.allclose(moments[0][i], moments[1][i], rtol=1e-3, atol=1e-12) for i in shared)


def test_all_that_was_there_stays(added: Path, shop: Path) -> None:
    before, after = tiny.tables(shop.parent / "store.duckdb"), tiny.tables(added)
    for table, old in before.items():
        if table in ("window_sums", "store_info"):
            continue
        kept = {repr(row) for row in after[table]}
        assert all(repr(row) in kept for row in old), table
        more = {"clips": 2, "scores": 128, "summaries": 4, "clip_moments": 128, "track_claims": 0}.get(table)
        assert more is None or len(after[table]) == len(old) + more, table
    note = rows(added, "SELECT note FROM store_info")[0][0]
    assert "Clips added later (5, 6): D-TRAK is exact for every track; Unlearning is exact for the tracks" in note
    assert note.endswith("not computed for these clips: CLAP similarity.")
    opened = Store(added)
    kinds = {clip.clip_id: (clip.kind, clip.prompt) for clip in opened.clips.list_scored()}
    assert kinds[5] == ("user", "a low plucked chord, fast") and kinds[6][0] == "generated"
    for clip_id in (5, 6):
        path = added.parent / "clips" / str(opened.clips.read_sound(clip_id).audio_path)
        assert path.is_file() and opened.clips.read_sound(clip_id).peaks
    opened.close()
    assert rows(added, "SELECT title, seed, conditioning FROM clips WHERE clip_id > 4 ORDER BY clip_id") == [
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
    assert len(list((store.parent / "clips").iterdir())) == 4
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
        with open_scratch(shop.parent / "work", "attribute"):
            assert not left.exists()


KILLED_AT_THE_RENAME = """
import os, signal, sys
real = os.replace
def replace(source, place):
    if "clips" == os.path.basename(os.path.dirname(str(place))) and sys.argv[1] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, place)
    if str(place).endswith("store.duckdb") and sys.argv[1] == "after":
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
from precompute.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def kill_at_the_rename(command: list[str], when: str, environment: dict[str, str]) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_AT_THE_RENAME, when, *command], cwd=ROOT, env=environment)
    assert killed.returncode == -signal.SIGKILL


def test_what_was_left_before_the_rename_is_swept(shop: Path, environment) -> None:
    """No sound that no store names stays behind: it may be a listener's."""
    store = copied(shop, "swept")
    command = ["attribute", "--audio", str(shop.parent.parent / "corpus/audio/0003.wav")]
    command += ["--config", str(shop), "--store", str(store)]
    before = hashlib.sha256(store.read_bytes()).hexdigest()
    kill_at_the_rename(command, "before", environment)
    assert hashlib.sha256(store.read_bytes()).hexdigest() == before
    assert len(list(store.parent.glob("clips/.attribute-*/clip-005-user.flac"))) == 1
    assert len(list(store.parent.glob(".store.duckdb.*.part"))) == 1
    assert main(["attribute", "--prompt", "a low chord", *command[3:]]) == 0
    assert sorted(path.name for path in store.parent.iterdir()) == ["clips", "store.duckdb"]
    assert sorted(path.name[:8] for path in (store.parent / "clips").iterdir()) == [f"clip-00{i}" for i in range(1, 6)]


def test_killed_after_it_was_published_a_clip_is_not_added_again(shop: Path, environment, capsys) -> None:
    store, audio = copied(shop, "twice"), str(shop.parent.parent / "corpus/audio/0003.wav")
    ends = ["--seconds", "1", "--config", str(shop), "--store", str(store)]
    command = ["attribute", "--audio", audio, "--prompt", "a low chord", *ends]
    kill_at_the_rename(command, "after", environment)
    before = store.read_bytes()
    assert main(command) == 0 and store.read_bytes() == before
    said = capsys.readouterr().out
    assert f"{store} holds clip 5 already: the same sound, words and seed; not added again" in said
    assert "holds clip 6 already" in said and "published" not in said
    assert sorted(path.name for path in store.parent.iterdir()) == ["clips", "store.duckdb"]  # nothing was left
    # what differs in words, seed or length is another clip; one that is new is added beside one that is there
    assert (
        main(["attribute", "--audio", audio, "--caption", "a hum", "--prompt", "a low chord", "--seed", "1", *ends])
        == 0
    )
    assert main([*command, "--prompt", "a high chord", "--prompt", "a high chord"]) == 0
    titled = rows(store, "SELECT clip_id, coalesce(prompt, ''), seed FROM clips WHERE clip_id > 4 ORDER BY clip_id")
    words = [(5, "", None), (6, "a low chord", 0), (7, "a hum", None), (8, "a low chord", 1), (9, "a high chord", 0)]
    assert titled == words


def start(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen:
    command = [sys.executable, "-u", "-m", "precompute", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_commands_on_one_store_wait_for_each_other(shop: Path, environment) -> None:
    """Started while the first one computes, the others see what it published, and nothing is lost."""
    store = copied(shop, "together")
    ends = ["--seconds", "1", "--config", str(shop), "--store", str(store)]
    first = start(["attribute", "--prompt", "a low chord", *ends], environment)
    lock = store.with_name(".store.duckdb.lock")
    limit = time.monotonic() + 60
    while not lock.exists() and time.monotonic() < limit:
        time.sleep(0.01)
    others = [
        start(["attribute", "--prompt", "a high chord", *ends], environment),
        start(["evaluate", "store", "--config", str(shop), "--store", str(store)], environment),
    ]
    texts = [process.communicate(timeout=120)[0] for process in (first, *others)]
    assert first.returncode == others[0].returncode == 0, texts
    assert others[1].returncode == 1  # the folder holds no evaluation: found out under the lock, after the others
    assert all(text.startswith(f"  waiting: another command is changing {store}\n") for text in texts[1:]), texts
    last = start(["remove", "3", "--store", str(store)], environment)
    assert last.wait(60) == 0
    prompts = rows(store, "SELECT prompt FROM clips WHERE clip_id > 4 ORDER BY clip_id")
    assert sorted(prompts) == [("a high chord",), ("a low chord",)]
    assert rows(store, "SELECT count(*) FROM tracks WHERE track_id = 3") == [(0,)]
    assert sorted(path.name for path in store.parent.iterdir()) == ["clips", "store.duckdb"]


def test_a_removal_waits_for_an_attribution(shop: Path, environment) -> None:
    store = copied(shop, "removed-meanwhile")
    ends = ["--seconds", "1", "--config", str(shop), "--store", str(store)]
    adding = start(["attribute", "--prompt", "a low chord", *ends], environment)
    assert any(line.startswith("search") for line in adding.stdout)
    removing = start(["remove", "3", "--store", str(store)], environment)
    said = removing.communicate(timeout=120)[0]
    adding.communicate(timeout=60)
    assert (adding.returncode, removing.returncode) == (0, 0), said
    assert said.startswith("  waiting: another command is changing ")
    assert rows(store, "SELECT count(*) FROM clips WHERE clip_id = 5") == [(1,)]
    assert rows(store, "SELECT count(*) FROM scores WHERE track_id = 3") == [(0,)]


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
        ("UPDATE runs SET config_toml = '[unlearning]\nascent_draws = 6'", "made with [unlearning] ascent_draws = 6"),
        ("UPDATE methods SET settings_json = '{}'", "the index with"),
        ("UPDATE methods SET name = 'other ' || name", "holds no scores by dtrak or unlearning"),
    ):
        with duckdb.connect(str(store)) as connection:
            connection.execute("DELETE FROM agreement")  # refers to methods
            connection.execute(change)
        assert main(["attribute", "a chord", "--config", str(shop), "--store", str(store)]) == 1
        error = capsys.readouterr().err
        assert named in error and error.count("\n") == 1


def test_a_setting_that_is_younger_than_the_store_has_its_default_there(shop: Path, capsys) -> None:
    store = copied(shop, "older")
    with duckdb.connect(str(store)) as connection:
        connection.execute("DELETE FROM agreement")  # refers to methods
        for name, text in connection.execute("SELECT name, settings_json FROM methods").fetchall():
            settings = json.loads(text)
            del settings["bank"]["uncaptioned"], settings["fisher"]["t_low"]
            settings.pop("uncaptioned", None)
            connection.execute("UPDATE methods SET settings_json = ? WHERE name = ?", [json.dumps(settings), name])
    assert main(["attribute", "a chord", "--config", str(shop), "--store", str(store)]) == 0, capsys.readouterr().err


def test_music_of_one_s_own_in_windows_and_without_decoys(tiny_root: Path, tmp_path: Path) -> None:
    """A file longer than the model hears at once is cut: its windows are attributed, and nothing is above noise."""
    (tmp_path / "music").mkdir()
    for number, seconds in enumerate((1.5, 1.8, 5.0, 1.2)):
        soundfile.write(tmp_path / f"music/{number}.wav", tiny.tone(200 + 90 * number, seconds, number), tiny.RATE)
    path = tiny.write_run(tiny_root, tmp_path, targets="0", cohort="4", checkpoints='""')
    manifest, music = f'manifest = "{tiny_root}/corpus/manifest.csv"', f'folder = "{tmp_path}/music"'
    text = re.sub(r'latents = ".*"\n', "", path.read_text().replace(manifest, music))
    path.write_text(text + METHODS.replace('"clap", ', "") + INDEX)
    assert main(["run", "--config", str(path)]) == 0 and main(["index", "--config", str(path)]) == 0
    assert main(["attribute", str(tmp_path / "music/2.wav"), "--config", str(path)]) == 0
    store = tmp_path / "store.duckdb"
    tracks = rows(store, "SELECT count(*) FROM tracks")[0][0]
    counts = "SELECT method_id, count(*), bool_or(above_noise), count(p_value) FROM scores WHERE clip_id = 4"
    assert rows(store, f"{counts} GROUP BY 1 ORDER BY 1") == [(1, tracks, False, 0), (2, tracks, False, 0)]
    assert tracks > 4
    bins = rows(store, "SELECT DISTINCT decoys, can_tell FROM match_bins WHERE clip_id = 4")
    assert bins in ([(0, False)], [])


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
    note = extend_note("A quick run.", [20], "D-TRAK is exact") + " A track was taken out."
    again = extend_note(note, [21, 22], "D-TRAK is exact; not computed: CLAP")
    assert again == (
        "A quick run. A track was taken out. Clips added later (20, 21, 22): D-TRAK is exact; not computed: CLAP."
    )


def test_stages_are_told_in_seconds() -> None:
    watch = attribution.Stopwatch()
    watch.end_stage("model")
    watch.end_stage("exact scores")
    assert re.fullmatch(r"model \d+\.\d s, exact scores \d+\.\d s", str(watch))
    assert watch.total_s == pytest.approx(sum(watch.spent.values()))
