"""The verbs of `python -m precompute`. Heavy imports stay inside the verb that needs them.

A user's mistake ends in one line on stderr and exit code 1.
"""

from __future__ import annotations

import argparse
import errno
import sys
from dataclasses import fields
from pathlib import Path

from precompute import __doc__ as DESCRIPTION
from precompute.cli.config import ROOT, add_config, load_config
from precompute.cli.evaluate import EXEMPLARS, add_evaluate
from precompute.cli.scale import add_verbs
from precompute.errors import UserError

Verbs = argparse._SubParsersAction  # what add_subparsers returns; argparse has no public name for it


def main(arguments: list[str] | None = None) -> int:
    """Run the verb that the arguments name (None = those of the process); its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except UserError as error:
        print(f"precompute: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("explorer", "precompute"):
            raise
        print(
            f"precompute: {error.name} is not installed; run `make install`, or pip install 'whence[precompute]'",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("precompute: stopped; start the same command again to go on", file=sys.stderr)
        return 130
    except OSError as error:
        if error.errno == errno.ENOSPC:
            where = f" ({error.filename})" if error.filename else ""
            print(
                f"precompute: the disk is full{where}; free some space and start the same command again",
                file=sys.stderr,
            )
            return 1
        raise


def build_parser() -> argparse.ArgumentParser:
    """All verbs with their arguments; `run` of the parsed options is the function that does the verb."""
    parser = argparse.ArgumentParser(prog="python -m precompute", description=DESCRIPTION)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_run_verbs(verbs)
    _add_training_verbs(verbs)
    _add_report_verbs(verbs)
    _add_exemplars_verb(verbs)
    _add_retrain_verb(verbs)
    add_evaluate(verbs.add_parser("evaluate", help="judge the model's clips, or a method by known truths and controls"))
    _add_remove_verb(verbs)
    _add_index_verbs(verbs)
    methods = verbs.add_parser("methods", help="list the attribution methods")
    methods.set_defaults(run=_do_methods)
    add_verbs(verbs)
    return parser


def _add_run_verbs(verbs: Verbs) -> None:
    run = verbs.add_parser("run", help="attribute clips to training tracks and publish a store")
    run.add_argument(
        "--config", type=Path, default=ROOT / "precompute/configs/demo.toml", help="TOML file (default: %(default)s)"
    )
    run.add_argument(
        "--audit", action="store_true", help="also compare with the naive two-pass difference, and print rho"
    )
    run.set_defaults(run=_do_run)

    init = verbs.add_parser("init", help="write a commented config for a folder of music")
    init.add_argument("folder", type=Path, metavar="FOLDER", help="the music that the model was trained on")
    init.add_argument("--out", type=Path, default=Path("whence.toml"), help="the config (default: %(default)s)")
    init.add_argument("--results", type=Path, default=Path("data"), help="where results go (default: %(default)s)")
    for option, meaning in (
        ("--name", "a published model, such as stable-audio-open-1.0"),
        ("--model-config", "a JSON config of stable-audio-tools"),
        ("--checkpoint", "its weights"),
        ("--clap", "folder of a ClapModel, where the model needs one"),
        ("--prompts", "CSV of clips to generate"),
        ("--audio", "clips of your own: a file or a folder"),
    ):
        init.add_argument(option, default="", help=meaning)
    init.set_defaults(run=_do_init)

    check = verbs.add_parser("check", help="what a config will run, what is missing, how long it takes")
    check.add_argument("--config", type=Path, required=True, help="TOML file")
    check.set_defaults(run=_do_check)


def _add_training_verbs(verbs: Verbs) -> None:
    train = verbs.add_parser("train-demo", help="train the embedded models from the embedded corpus")
    train.add_argument("--preset", choices=("cpu", "gpu"), default="cpu", help="how long and how large (default: cpu)")
    train.add_argument("--config", type=Path, help="a TOML file in place of a preset")
    train.add_argument("--device", help="torch device (default: cpu, or cuda with --preset gpu)")
    train.add_argument("--resume", action="store_true", help="go on with the run that the work folder holds")
    train.set_defaults(run=_do_train_demo)

    clews = verbs.add_parser("train-clews", help="train a small matcher of musical versions for the method clews")
    clews.add_argument("--config", type=Path, default=ROOT / "precompute/configs/train-clews.toml")
    clews.add_argument(
        "--out", type=Path, default=ROOT / "assets/benchmarks/demo-clews.json", help="JSON of the result"
    )
    clews.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    clews.add_argument("--resume", action="store_true", help="go on with the run that the work folder holds")
    clews.set_defaults(run=_do_train_clews)


def _add_report_verbs(verbs: Verbs) -> None:
    verify = verbs.add_parser("verify", help="recompute a few scores of a store with the naive twin")
    verify.add_argument("--config", type=Path, default=ROOT / "precompute/configs/demo-full.toml")
    verify.add_argument("--store", type=Path, default=ROOT / "assets/demo/store.duckdb")
    verify.add_argument("--clips", type=int, default=2)
    verify.add_argument("--tracks", type=int, default=12)
    verify.add_argument(
        "--method", action="append", default=[], help="dtrak or unlearning; else the store's default, and what is quick"
    )
    verify.set_defaults(run=_do_verify)

    report = verbs.add_parser("report", help="write what a store's run found about itself, and print it as a table")
    report.add_argument("--store", type=Path, default=ROOT / "assets/demo/store.duckdb")
    report.add_argument("--out", type=Path, default=ROOT / "assets/benchmarks/demo-diagnostics.json")
    report.set_defaults(run=_do_report)

    look = verbs.add_parser("look", help="draw spectrograms of tracks, reconstructions and clips, and print levels")
    look.add_argument("--config", type=Path, default=ROOT / "precompute/configs/demo-full.toml")
    look.add_argument("--picture", type=Path, default=ROOT / "assets/demo/spectrograms.png")
    look.set_defaults(run=_do_look)


def _add_exemplars_verb(verbs: Verbs) -> None:
    exemplars = verbs.add_parser("train-exemplars", help="tune the model on a few decoys together, with one update")
    add_config(exemplars)
    exemplars.add_argument("--out", type=Path, default=EXEMPLARS, help="file of the update (default: %(default)s)")
    exemplars.add_argument("--track", type=int, action="append", default=[], help="a decoy's id, instead of a choice")
    exemplars.add_argument("--count", type=int, default=4, help="how many are chosen (default: %(default)s)")
    exemplars.add_argument("--steps", type=int, default=120, help="at most (default: %(default)s)")
    exemplars.set_defaults(run=_do_train_exemplars)


def _add_retrain_verb(verbs: Verbs) -> None:
    retrain = verbs.add_parser("retrain", help="train small models without some works: the truth that methods predict")
    retrain.add_argument("--config", type=Path, default=ROOT / "precompute/configs/bench.toml")
    retrain.add_argument("--most", type=int, default=0, help="trainings to do now; 0 = all (default: %(default)s)")
    retrain.add_argument("--plan", action="store_true", help="print the plan and the time, and do nothing")
    retrain.set_defaults(run=_do_retrain)


def _add_remove_verb(verbs: Verbs) -> None:
    remove = verbs.add_parser("remove", help="publish a store again without some tracks; the model keeps them")
    remove.add_argument("tracks", nargs="*", type=int, metavar="TRACK", help="track ids")
    remove.add_argument("--by", metavar="GROUPING", help="with --of: 'composer', 'collection', a role of its holders")
    remove.add_argument("--of", metavar="NAME", help="all training tracks of this composer, holder, collection, ...")
    remove.add_argument("--store", type=Path, required=True, help="DuckDB file; a new version takes its place")
    remove.add_argument("--audio", action="store_true", help="also delete their sound files")
    remove.add_argument("--manifest", type=Path, help="CSV with a column track_id: its rows go too")
    which = remove.add_mutually_exclusive_group()
    which.add_argument("--index", type=Path, metavar="FOLDER", help="index whose rows go too (default: the run's own)")
    which.add_argument("--no-index", action="store_true", help="leave the index as it is")
    remove.set_defaults(run=_do_remove)


def _add_index_verbs(verbs: Verbs) -> None:
    index = verbs.add_parser("index", help="make or update the index by which `attribute` finds a new clip's tracks")
    index.add_argument("--config", type=Path, default=ROOT / "precompute/configs/demo.toml")
    index.add_argument("--curve", type=Path, metavar="JSON", help="also keep the measured recall in this file")
    index.set_defaults(run=_do_index)

    attribute = verbs.add_parser("attribute", help="attribute new clips by the index, and add them to the store")
    attribute.add_argument("inputs", nargs="*", metavar="AUDIO|PROMPT", help="an audio file, or words to generate from")
    attribute.add_argument("--config", type=Path, default=ROOT / "precompute/configs/demo.toml")
    attribute.add_argument("--store", type=Path, help="the store to add to (default: [output] store)")
    attribute.add_argument("--audio", type=Path, action="append", default=[], help="an audio file, and nothing else")
    attribute.add_argument("--prompt", action="append", default=[], help="words to generate from, and nothing else")
    attribute.add_argument("--caption", help="words that a file is heard under (default: its CLAP embedding, or none)")
    attribute.add_argument("--title", help="name that a file is shown under (default: the file's)")
    attribute.add_argument("--seconds", type=float, help="of a generated clip (default: the model's longest)")
    attribute.add_argument("--seed", type=int, default=0, help="of a generated clip (default: %(default)s)")
    attribute.set_defaults(run=_do_attribute)


# -- the verbs: heavy imports stay inside ------------------------------------------------------------------------------


def _do_run(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.pipeline import run

    run(config, audit=options.audit)


def _do_init(options: argparse.Namespace) -> None:
    from precompute.cli.init import InitOptions, write_config

    write_config(InitOptions(**{field.name: getattr(options, field.name) for field in fields(InitOptions)}))


def _do_check(options: argparse.Namespace) -> None:
    from precompute.cli.check import report_readiness
    from precompute.config.run import RunConfig

    report_readiness(RunConfig.load(options.config))


def _do_index(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.index.build import build_index

    build_index(config, options.curve)


def _do_attribute(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.index.clips import parse_requests

    rest = {name: getattr(options, name) for name in ("caption", "title", "seconds", "seed")}
    requests = parse_requests(options.inputs, options.prompt, options.audio, **rest)
    from precompute.index.attribution import attribute_clips

    attribute_clips(config, requests, options.store)


def _do_train_demo(options: argparse.Namespace) -> None:
    from precompute.train.demo import TrainDemoSettings, train_demo

    config = options.config or ROOT / f"precompute/configs/train-demo-{options.preset}.toml"
    device = options.device or ("cuda" if options.preset == "gpu" else "cpu")
    train_demo(TrainDemoSettings.load(config, ROOT), device, options.resume)


def _do_train_clews(options: argparse.Namespace) -> None:
    from precompute.train.clews import TrainClewsSettings, train_clews

    settings = TrainClewsSettings.load(options.config, ROOT)
    train_clews(settings, ROOT / "data/demo/versions.py", options.out, options.device, options.resume)


def _do_verify(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.evaluate.verification import verify_store

    verify_store(config, options.store, options.clips, options.tracks, options.method)


def _do_report(options: argparse.Namespace) -> None:
    from precompute.evaluate.report import report_diagnostics

    report_diagnostics(options.store, options.out)


def _do_look(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.evaluate.quality.spectrograms import draw_spectrograms

    draw_spectrograms(config, options.picture)


def _do_train_exemplars(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.train.exemplars import ExemplarSettings, make_exemplars

    settings = ExemplarSettings(steps=options.steps)
    make_exemplars(config, options.out, options.track, settings, options.count)


def _do_retrain(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.train.retraining.run import retrain

    retrain(config, options.most, options.plan)


def _do_remove(options: argparse.Namespace) -> None:
    from precompute.removal.removal import TrackGroup, remove_tracks
    from precompute.removal.report import describe_removal

    if (options.by is None) != (options.of is None):
        raise UserError("remove: --by and --of go together: --by composer --of 'Clara Schumann'")
    group = None if options.of is None else TrackGroup(options.by, options.of)
    report = remove_tracks(
        options.store, options.tracks, options.audio, options.manifest, options.index, options.no_index, group
    )
    for line in describe_removal(report, options.store):
        print(line)


def _do_methods(options: argparse.Namespace) -> None:
    from precompute.methods.listing import describe_methods

    print(describe_methods())
