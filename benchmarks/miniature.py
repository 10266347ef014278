"""The miniature paper: everything that the tables of ``leaderboards/scenes32`` rest on, from training to the page.

``train --runs FOLDER`` trains every card of the tables as its recipe says, ``ship --runs FOLDER`` writes the averaged
weights of the last checkpoints and what they took into the cards, ``run --work FOLDER`` predicts and scores every row
on the full evaluation set and writes the records, ``build`` draws Figure 8 and writes what `palette-bench leaderboard
build` makes of them. Each goes on where it was interrupted. Training takes hours of two processor cores.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from palette_bench.artifacts.evalset import EvalSet, open_set
from palette_bench.artifacts.record import read_record, sealed
from palette_bench.cli.console import progress as console_progress
from palette_bench.common.canonical import bytes_digest
from palette_bench.common.files import write_bytes, write_json
from palette_bench.common.home import weights_folder
from palette_bench.common.progress import Progress
from palette_bench.common.workers import default_jobs
from palette_bench.predict.card import find_card
from palette_bench.predict.training.export import export_weights
from palette_bench.prepare.build import build as build_set
from palette_bench.prepare.plan import Choices, make_plan
from palette_bench.publish.figures import account as figures
from palette_bench.publish.leaderboard import build as leaderboard
from palette_bench.publish.regress import runs as rows
from palette_bench.publish.tables import miniature
from palette_bench.publish.tables.layout import layouts, records_needed

SET = "scenes32"
ROOT = Path(__file__).parent.parent
FOLDER, BASELINES = ROOT / "leaderboards" / SET, ROOT / "baselines"
SHIPPED_BYTES = 25_000_000


def prepared(progress: Progress) -> EvalSet:
    """The evaluation set, prepared if it is not yet."""
    plan = make_plan(SET, Choices(), progress=progress)
    build_set(plan, jobs=default_jobs(), replace=False, progress=progress)
    return open_set(plan.protocol.set_id)


def is_made(task: str, model: str, samples: int) -> bool:
    """Whether the record of a row is there and of this model."""
    path = miniature.record_path(FOLDER, task, model)
    if not path.is_file():
        return False
    kept = read_record(path).record
    fits = kept.origin is not None and kept.origin.fingerprint == find_card(model).fingerprint()
    return fits and kept.samples == samples


def run(work: Path, only: str | None) -> None:
    """Predict and score every row whose record is not there yet."""
    progress = console_progress()
    eval_set = prepared(progress)
    wanted = [
        rows.Row(
            set_id=eval_set.set_id,
            task=task,
            model=model,
            name=model,
            preds=work / task / f"{model}-{find_card(model).fingerprint()[:12]}-{samples}",
            samples=samples,
        )
        for task, model, samples in records_needed(layouts())
        if (only is None or only in f"{task}/{model}") and not is_made(task, model, samples)
    ]
    for row, scored in rows.make_all(wanted, processes=default_jobs(), label="the miniature paper", progress=progress):
        items_sha256 = bytes_digest(scored.items_csv.encode())
        write_json(miniature.record_path(FOLDER, row.task, row.name), sealed(scored.record, items_sha256))
        print(f"{row.task}/{row.name}", flush=True)


def trained_models() -> list[str]:
    """The networks of the tables: generalists, specialists, their L1 twins, then other architectures."""
    models = dict.fromkeys(model for _, model, _ in records_needed(layouts()))
    networks = [model for model in models if "network" in find_card(model).training]

    def rank(model: str) -> int:
        if model.endswith("multitask"):
            return 0
        return 1 if model.count("-") == 2 else 2 if model.endswith("-l1") else 3

    return sorted(networks, key=rank)


def train(runs: Path, lanes: int) -> None:
    """Train all models, ``lanes`` at a time on one thread each."""

    def one(model: str) -> None:
        command = [sys.executable, "-m", "palette_bench", "train", model, "--out", str(runs / model)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        print(f"{model}: trained", flush=True)

    with ThreadPoolExecutor(lanes) as pool:
        list(pool.map(one, trained_models()))


def ship(runs: Path) -> None:
    """Put the weights of every run's last checkpoint into its card.

    Those over the limit of size go where a user would put them: the weights folder.
    """
    shipped = 0
    for model in trained_models():
        kept = runs / model / "weights.safetensors"
        exported = export_weights(runs / model, kept, half=True)
        if exported.step != (planned := find_card(model).training["steps"]):
            raise SystemExit(f"{model}: trained for {exported.step} of {planned} steps")
        data = kept.read_bytes()
        inside = shipped + len(data) <= SHIPPED_BYTES
        shipped += len(data) if inside else 0
        name = "weights.safetensors" if inside else f"{model}.safetensors"
        write_bytes((BASELINES / model if inside else weights_folder()) / name, data)
        weights = [f'file = "{name}"', f'sha256 = "{exported.sha256}"']
        if not inside:
            weights.append(f'source = "palette-bench train {model}, then --export {name}"')
        _write_card(BASELINES / model / "card.toml", took=_took(runs / model / "metrics.jsonl"), weights=weights)
        print(f"{model}: step {exported.step}, {len(data)} bytes{'' if inside else ', not shipped'}", flush=True)


def _took(metrics: Path) -> list[str]:
    """What a run took, as lines of a card."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    images = [0, *(line["images"] for line in lines)]
    seconds = sum((b - a) / line["images_per_second"] for a, b, line in zip(images, images[1:], lines, strict=False))
    return [f"images = {images[-1]}", f"hours = {seconds / 3600:.2f}", 'machine = "one processor core"']


def _write_card(path: Path, *, took: list[str], weights: list[str]) -> None:
    """Replace what a card says of its training's outcome."""
    rest = re.sub(r"(?m)^\[(weights|training\.took)\]\n[^\[]*", "", path.read_text()).rstrip()
    path.write_text("\n".join([rest, "", "[training.took]", *took, "", "[weights]", *weights]) + "\n")


def build() -> None:
    """Figure 8, and every page that is made of records."""
    figures.write(miniature.draw_diversity(FOLDER), FOLDER / miniature.DIVERSITY_FIGURE)
    site = FOLDER.parent / "site"
    for path in leaderboard.write(leaderboard.built(FOLDER.parent, site), site):
        print(path.relative_to(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train_parser = commands.add_parser("train", help="train every model of the tables")
    train_parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    train_parser.add_argument("--lanes", type=int, default=2, help="trainings at a time")
    ship_parser = commands.add_parser("ship", help="put the trained weights into the cards")
    ship_parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    running_parser = commands.add_parser("run", help="predict and score")
    running_parser.add_argument("--work", type=Path, required=True, help="folder for predictions")
    running_parser.add_argument("--only", help="rows whose task/model contains this")
    commands.add_parser("build", help="write README.md and the histograms from the records")
    options = parser.parse_args()
    match options.command:
        case "train":
            train(options.runs, options.lanes)
        case "ship":
            ship(options.runs)
        case "run":
            run(options.work, options.only)
        case _:
            build()


if __name__ == "__main__":
    main()
