"""The miniature paper: predict and score everything that the tables of ``leaderboards/scenes32`` need.

``python -m benchmarks.miniature run --work FOLDER`` predicts with every card that a table names, scores it on the full
evaluation set and writes the records; interrupted, the same command goes on. ``python -m benchmarks.miniature build``
writes ``README.md`` and the histograms from the records. It takes about an hour of two processor cores.
"""

import argparse
from pathlib import Path

from palette_bench.cli.console import progress as console_progress
from palette_bench.common.files import read_json, write_bytes, write_json
from palette_bench.common.progress import Progress
from palette_bench.common.workers import default_jobs
from palette_bench.predict import run as running
from palette_bench.predict.card import find_card
from palette_bench.prepare.build import build as build_set
from palette_bench.prepare.frozen import FrozenSet, open_set
from palette_bench.prepare.plan import Choices, make_plan
from palette_bench.publish import miniature
from palette_bench.score.scoring import Options, score

SET = "scenes32"
FOLDER = Path(__file__).parent.parent / "leaderboards" / SET


def prepared(progress: Progress) -> FrozenSet:
    """The evaluation set, prepared if it is not yet."""
    plan = make_plan(SET, Choices(), progress=progress)
    build_set(plan, jobs=default_jobs(), replace=False, progress=progress)
    return open_set(plan.protocol.set_id)


def make_record(opened: FrozenSet, task: str, model: str, samples: int, work: Path, progress: Progress) -> bool:
    """Predict and score one row unless its record is already of this model; whether anything was done."""
    card = find_card(model)
    path = miniature.record_path(FOLDER, task, model)
    if path.is_file():
        kept = read_json(path, kind="record").get("model")
        if isinstance(kept, dict) and kept.get("fingerprint") == card.fingerprint() and kept.get("samples") == samples:
            return False
    preds = work / task / f"{model}-{card.fingerprint()[:12]}-{samples}"
    options = running.Options(samples=samples, jobs=default_jobs())
    predicted = running.predict(opened, task, card, preds, options, progress=progress)
    if predicted.described is None:
        raise SystemExit(f"{preds} is not finished")
    scored = score(opened, opened.task(task), preds, model, Options(jobs=default_jobs()), progress=progress)
    if scored is None:
        raise SystemExit("scores of the miniature are not divided")
    made = {"fingerprint": card.fingerprint(), "samples": samples, "tree_sha256": predicted.described["tree_sha256"]}
    write_json(path, {**scored.record.as_json(), "model": made})
    return True


def run(work: Path, only: str | None) -> None:
    progress = console_progress()
    opened = prepared(progress)
    for task, model, samples in miniature.wanted(miniature.layouts()):
        if only is None or only in f"{task}/{model}":
            done = make_record(opened, task, model, samples, work, progress)
            print(f"{task}/{model}: {'done' if done else 'kept'}", flush=True)


def build() -> None:
    readme = miniature.render_readme(FOLDER)
    write_bytes(FOLDER / "README.md", readme.encode())
    for name, picture in miniature.histograms(FOLDER).items():
        write_bytes(FOLDER / name, picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running_parser = commands.add_parser("run", help="predict and score")
    running_parser.add_argument("--work", type=Path, required=True, help="folder for predictions")
    running_parser.add_argument("--only", help="rows whose task/model contains this")
    commands.add_parser("build", help="write README.md and the histograms from the records")
    options = parser.parse_args()
    if options.command == "run":
        run(options.work, options.only)
    else:
        build()


if __name__ == "__main__":
    main()
