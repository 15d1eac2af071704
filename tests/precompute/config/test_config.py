"""Configs: every bad field has its own message; --help needs no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from precompute.cli.main import main
from precompute.config.run import BankSection, RunConfig, fingerprint
from precompute.errors import UserError
from support import tiny

REPOSITORY = Path(__file__).resolve().parents[3]
WITHOUT_TORCH = """
import sys
for name in ("torch", "torchaudio", "librosa", "laion_clap", "stable_audio_tools", "transformers"):
    sys.modules[name] = None  # import raises ImportError
from precompute.cli.main import main
sys.exit(main({arguments!r}))
"""


def load(tmp_path: Path, change: tuple[str, str] = ("", "")) -> RunConfig:
    path = tiny.write_run(tmp_path, tmp_path)
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(change[0], change[1], 1) if change[0] else text + change[1])
    return RunConfig.load(path)


def test_a_good_config_is_read_and_keeps_its_text(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.clips.cohort == 6 and config.unlearning.window_s == 0.5 and config.bank == BankSection()
    assert "[unlearning]" in config.text


@pytest.mark.parametrize(("own", "wanted"), [("", 0.5), ("\nt_low = 0.25", 0.25)])
def test_a_clip_s_draws_are_from_the_tracks_half_unless_said(tmp_path: Path, own: str, wanted: float) -> None:
    config = load(tmp_path, ("window_s = 0.5", f"window_s = 0.5{own}\n[bank]\nt_low = 0.5"))
    assert (config.bank.t_low, config.unlearning.t_low, config.fisher.t_low) == (0.5, wanted, 0.5)


@pytest.mark.parametrize("name", ["demo.toml", "demo-full.toml", "demo-agreement.toml"])
def test_shipped_configs_parse(name: str) -> None:
    config = RunConfig.load(REPOSITORY / "precompute" / "configs" / name)
    assert config.corpus.manifest == "data/demo/manifest.csv"
    assert config.bank.t_low == config.unlearning.t_low == 0.5


BAD = [
    ("[fisher]\ndraws = 2", "[fisher]\ndraws = 0", r"\[fisher\] draws = 0: must be at least 1"),
    ("draws = 2", "draws = 2\ndamping = 0.0", r"\[fisher\] damping = 0.0: must be above 0"),
    ("steps = 4", "steps = 0", r"\[clips\] steps = 0: must be at least 1"),
    ("targets = 4", "targets = -1", r"\[clips\] targets = -1: must be 0 or more"),
    ("cohort = 6", "cohort = 1", r"\[clips\] cohort = 1: normalisation needs at least 2 clips"),
    ("ascent_draws = 4", "ascent_draws = 3", r"\[unlearning\] ascent_draws = 3: must be even and at least 2"),
    ("ascent_draws = 4", 'layers = "mlp"', r"\[unlearning\] layers = 'mlp': choose one of to_kv, cross_attn"),
    ("ascent_draws = 4", 'mask = "some"', r"\[unlearning\] mask = 'some': choose one of none, mixed, dual"),
    ("ascent_draws = 4", "learning_rate = -1", r"\[unlearning\] learning_rate = -1: must be above 0"),
    ("window_s = 0.5", "window_s = 0", r"\[unlearning\] window_s = 0: must be above 0"),
    ("[moments]", "[bank]\nreplicates = 1\n[moments]", r"\[bank\] replicates = 1: a standard error needs at least 2"),
    ("[moments]", "[bank]\nstrata = 0\n[moments]", r"\[bank\] strata = 0: must be at least 1"),
    ("[moments]", "[bank]\ndraws_per_cell = 0\n[moments]", r"\[bank\] draws_per_cell = 0: must be at least 1"),
    ("[moments]", "[bank]\nseed = 202\n[moments]", r"seed of \[bank\] and \[unlearning\] must differ"),
    ("tracks = 3", "tracks = 3\nrate_hz = 0", r"\[moments\] rate_hz = 0: must be above 0"),
    ("[corpus]", "[corpus]\ndecoys = -1", r"\[corpus\] decoys = -1: must be 0 \(all\) or more"),
    ("[corpus]", '[corpus]\nfolder = "x"', r"\[corpus\] needs either manifest or folder, and not both"),
    ("[output]", '[output]\nclip_format = "wav"', r"\[output\] clip_format = 'wav': choose one of flac, mp3"),
    ("[moments]", "[exemplars]\nclips = 0\n[moments]", r"\[exemplars\] clips = 0: must be at least 1"),
    ("[moments]", "[exemplars]\ncohort = 1\n[moments]", r"\[exemplars\] cohort = 1: normalisation needs at least 2"),
    ("[moments]", "[exemplars]\nreplicates = 1\n[moments]", r"\[exemplars\] replicates = 1: a standard error needs"),
    ("[moments]", "[exemplars]\nstrata = 0\n[moments]", r"\[exemplars\] strata = 0: must be at least 1"),
    ("[moments]", "[exemplars]\ndraws_per_cell = 0\n[moments]", r"\[exemplars\] draws_per_cell = 0: must be at least"),
    ("[moments]", "[exemplars]\nascent_draws = 5\n[moments]", r"\[exemplars\] ascent_draws = 5: must be even"),
    ("[moments]", "[exemplars]\nupdate = 3\n[moments]", r"\[exemplars\] update = 3: must be of type str"),
    # types and names
    ("steps = 4", 'steps = "4"', r"\[clips\] steps = '4': must be of type int"),
    ("steps = 4", "steps = 4.5", r"\[clips\] steps = 4.5: must be of type int"),
    ("steps = 4", "steps = true", r"\[clips\] steps = True: must be of type int"),
    ("steps = 4", "guidance = false", r"\[clips\] guidance = False: must be of type float"),
    ("prompts = ", "prompts = 1 #", r"\[clips\] prompts = 1: must be of type str"),
    ("steps = 4", "step = 4", r"\[clips\] step: unknown field; known are prompts, audio, steps"),
    ("[fisher]", "[fischer]", r"section \[fischer\] is unknown; known are corpus, model"),
    ("prompts = ", "# prompts = ", r"\[clips\] needs prompts, audio, or both"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD, ids=[new.splitlines()[-1] for _, new, _ in BAD])
def test_every_mistake_names_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, (old, new))
    assert str(caught.value).startswith(f"{tmp_path / 'run.toml'}: ")
    assert "\n" not in str(caught.value)


def test_the_pass_of_exemplars_has_its_own_draws_and_no_targets(tmp_path: Path) -> None:
    own = '\n[exemplars]\nupdate = "x"\ncohort = 3\nreplicates = 2\nstrata = 1\nascent_draws = 2\n[bank]\nt_low = 0.5\n'
    config = load(tmp_path, ("", own))
    reduced = config.exemplars.reduce(config)
    assert reduced.bank == BankSection(replicates=2, strata=1, t_low=0.5)
    assert (reduced.clips.cohort, reduced.clips.targets, reduced.unlearning.ascent_draws) == (3, 0, 2)
    assert (config.clips.cohort, config.clips.targets, load(tmp_path).exemplars.update) == (6, 4, "")


@pytest.mark.parametrize("section", ["corpus", "model", "clips", "output"])
def test_a_missing_section_is_named(tmp_path: Path, section: str) -> None:
    path = tiny.write_run(tmp_path, tmp_path)
    blocks = path.read_text().split("\n[")
    path.write_text("\n[".join(b for b in blocks if not b.lstrip("[\n").startswith(f"{section}]")))
    with pytest.raises(UserError, match=rf"section \[{section}\] is missing"):
        RunConfig.load(path)


def test_fingerprints_follow_the_settings_and_nothing_else(tmp_path: Path) -> None:
    one = load(tmp_path)
    same = load(tmp_path, ("", "\n# a remark\n"))
    other = load(tmp_path, ("draws = 2", "draws = 3"))
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    assert fingerprint("a", "b") != fingerprint("b", "a") != fingerprint("ab")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read (No such file or directory)"), ("[corpus\n", "is not valid TOML")],
    ids=["missing", "not TOML"],
)
def test_a_bad_config_ends_in_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_text(content)
    assert main(["run", "--config", str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"precompute: {path}: ") and message in said.err


def without_torch(arguments: list[str], cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    code = WITHOUT_TORCH.format(arguments=arguments)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_help_imports_no_torch(tmp_path: Path, environment: dict[str, str]) -> None:
    done = without_torch(["--help"], tmp_path, environment)
    assert done.returncode == 0 and "train-demo" in done.stdout and done.stderr == ""


def test_a_bad_config_is_told_without_torch(tmp_path: Path, environment: dict[str, str]) -> None:
    done = without_torch(["run", "--config", "nowhere.toml"], tmp_path, environment)
    assert done.returncode == 1
    assert done.stderr == "precompute: nowhere.toml: cannot be read (No such file or directory)\n"


def test_config_module_needs_no_torch(tmp_path: Path, environment: dict[str, str]) -> None:
    code = (
        "import sys, json\nimport precompute.config.run, precompute.corpus.tracks\n"
        "import precompute.significance.verdicts, precompute.common.cache\n"
        "print(json.dumps([n for n in sys.modules if n.split('.')[0] in ('torch', 'stable_audio_tools', 'librosa')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout) == []


def test_a_later_setting_leaves_the_names_of_older_results_until_it_is_set() -> None:
    bank = BankSection(replicates=4, strata=2)
    values = {"replicates": 4, "strata": 2, "draws_per_cell": 1, "seed": 303, "t_low": 0.0}
    assert fingerprint("key", bank) == fingerprint("key", values)
    assert fingerprint("key", replace(bank, uncaptioned=0.1)) == fingerprint("key", {**values, "uncaptioned": 0.1})
