"""Numbers of an entry in the Hugging Face Hub's form: YAML for ``.eval_results/`` of a model's repository.

Field names are those of https://huggingface.co/docs/hub/eval-results: ``dataset.id`` and ``dataset.task_id`` are
required, and so is ``value``; ``source`` with ``url`` and ``name``, and ``notes`` are optional. ``date`` is left to the
Hub, which takes that of the commit, and ``verifyToken`` to what the Hub ran itself.
"""

import json
import re

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.common.errors import UsageError, printable
from palette_bench.publish.leaderboard.board import in_table_order
from palette_bench.publish.leaderboard.entry import Entry
from palette_bench.score.recipes.catalogue import named

_DATASET = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def task_id(task: str, recipe: str) -> str:
    """The id under which the benchmark's ``eval.yaml`` must list a number."""
    return f"{task}_{recipe}"


def eval_results(entry: Entry, record: ResultRecord, dataset: str) -> str:
    """The headline numbers of an entry as one YAML list. ``dataset`` is the benchmark's repository on the Hub.

    Raises UsageError if that can be no repository.
    """
    if not _DATASET.fullmatch(dataset):
        raise UsageError("a dataset of the Hub has an owner and a name", expected="OWNER/NAME", found=dataset)
    lines: list[str] = []
    for metric in in_table_order(record):
        if not metric.headline:
            continue
        lines += [
            "- dataset:",
            f"    id: {_text(dataset)}",
            f"    task_id: {_text(task_id(entry.task, metric.recipe))}",
            f"  value: {metric.value!r}",
        ]
        if entry.model.url:
            lines += ["  source:", f"    url: {_text(entry.model.url)}", f"    name: {_text(entry.name)}"]
        lines.append(f"  notes: {_text(_notes(entry, metric))}")
    return "\n".join(lines) + "\n"


def _notes(entry: Entry, metric: MetricValue) -> str:
    recipe = named(metric.recipe)
    error = "" if metric.standard_error is None else f"standard error {metric.standard_error:.{recipe.digits + 1}f}; "
    return f"{metric.title}, {recipe.direction.value} is better; {error}{entry.tier.value}; {metric.signature}"


def _text(text: str) -> str:
    """A YAML string in double quotes: JSON's strings are such."""
    return json.dumps(printable(text))
