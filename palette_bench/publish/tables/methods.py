"""The paragraph on evaluation that belongs below a table: what was measured, on what, how, and whom to cite."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from palette_bench.artifacts.record import FLOAT32, MetricValue, ResultRecord
from palette_bench.protocol.tasks import TASKS, TaskKind
from palette_bench.publish.tables.citations import (
    OF_BACKBONE,
    OF_SET,
    SOFTWARE,
    Citation,
    entries,
    of_paper,
)
from palette_bench.publish.tables.table import Table
from palette_bench.score.backbones.base import SPECS
from palette_bench.score.recipes.base import PIXELS, Column, Recipe
from palette_bench.score.recipes.catalogue import named


@dataclass(frozen=True, slots=True)
class Cited:
    """A place in the text where entries are cited."""

    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Methods:
    """Text and citations in turn."""

    parts: tuple[str | Cited, ...]

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Every entry once, in the order of the text."""
        found = {c.key: c for part in self.parts if isinstance(part, Cited) for c in part.citations}
        return tuple(found.values())

    def number(self, citation: Citation) -> int:
        """Its place in the list of references, from 1."""
        return [known.key for known in self.citations].index(citation.key) + 1

    def numbers(self, cited: Sequence[Citation]) -> str:
        """The places of several, as in ``1, 3``."""
        return ", ".join(str(self.number(citation)) for citation in cited)

    def render(self, text: Callable[[str], str], cite: Callable[[Sequence[Citation]], str]) -> str:
        """The paragraph, text by ``text`` and citations by ``cite``."""
        return "".join(text(part) if isinstance(part, str) else cite(part.citations) for part in self.parts)

    @property
    def plain(self) -> str:
        """The paragraph with numbers in brackets for citations."""
        return self.render(str, lambda cited: f" [{self.numbers(cited)}]")


def methods(table: Table) -> Methods:
    """What the table's records say of themselves, and where its printed rows are from."""
    parts: list[str | Cited] = []
    records = [entry.record for entry in table.entries]
    if records:
        versions = sorted({record.environment.get("palette-bench", "of unknown version") for record in records})
        parts += [f"Numbers were computed with palette-bench {' and '.join(versions)}", Cited((SOFTWARE,)), ". "]
        parts += _sets(records)
        parts += _numbers(table, records)
        parts.append(
            "Errors (±) are one standard error over the images of the set, by the infinitesimal jackknife for FID and "
            "IS, and say nothing of other training runs, seeds or choices. "
        )
    papers = {row.paper.key: row.paper for g in table.groups for row in g.rows if row.paper is not None}
    for paper in papers.values():
        which = f"Rows of {paper.name}" if records or len(papers) > 1 else "All rows"
        parts += [f"{which} are as printed", Cited((of_paper(paper),)), " and have no error bars. "]
    if papers and records:
        parts.append(
            "Printed rows are ranked with ours only where set, task, variant and recipe are the same; all others are "
            "marked."
        )
    return Methods(_joined(parts))


def _joined(parts: Sequence[str | Cited]) -> tuple[str | Cited, ...]:
    """Neighbouring texts as one, no space at the end."""
    joined: list[str | Cited] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, str) and isinstance(last, str):
            joined[-1] = last + part
        else:
            joined.append(part)
    if joined and isinstance(joined[-1], str):
        joined[-1] = joined[-1].rstrip()
    return tuple(joined)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _sets(records: Sequence[ResultRecord]) -> Iterator[str | Cited]:
    """What was evaluated: set, version, images, geometry, tasks."""
    for set_id in dict.fromkeys(record.scored.set_id for record in records):
        of_set = [record for record in records if record.scored.set_id == set_id]
        scored = of_set[0].scored
        tasks = [f"{name} ({TASKS[name].title})" for name in dict.fromkeys(record.scored.task for record in of_set)]
        yield f"We evaluate {_listed(tasks)} on {set_id}@{scored.version}"
        if cited := OF_SET.get(scored.name):
            yield Cited(tuple(entries()[key] for key in cited))
        yield f", {scored.count:,} images of {scored.size}x{scored.size} pixels"
        if scored.status != "embedded":
            yield f" (geometry {scored.geometry})"
        if scored.status == "reconstruction":
            yield ", a reconstruction of a list that was never published"
        yield ". "
    drawn = [record.scored for record in records if TASKS[record.scored.task].kind is TaskKind.FREEFORM_HOLE]
    if any("released-masks" not in scored.variant for scored in drawn):
        yield "Free-form masks are generated by the algorithm of DeepFillv2"
        yield Cited((entries()["yu2019freeform"],))
        yield ". "
    if any(TASKS[record.scored.task].masked for record in records):
        yield "Where part of an image is hidden, the prediction is composited with the known region before scoring. "


def _numbers(table: Table, records: Sequence[ResultRecord]) -> Iterator[str | Cited]:
    """How each column was computed: recipe, output of which network, reference set; then what each network sees."""
    networks: dict[str, str] = {}
    for name in dict.fromkeys(cell.recipe for cell in table.cells if cell.fingerprint is not None):
        recipe = named(name)
        found = [(record, record.metrics[name]) for record in records if name in record.metrics]
        yield recipe.title
        if author := recipe.metric.citation:
            yield Cited((entries()[author],))
        yield f" is the recipe {name}"
        if recipe.backbone != PIXELS:
            yield f" on {recipe.output} of {recipe.backbone}"
            if network := OF_BACKBONE.get(recipe.backbone):
                yield Cited((entries()[network],))
        if recipe.metric.column is Column.FID:
            yield f", against {_listed(list(dict.fromkeys(_reference(record, recipe) for record, _ in found)))}"
        yield ". "
        for _, metric in found:
            networks.setdefault(_input(metric), "")
    for description in filter(None, networks):
        yield f"{description}. "


def _reference(record: ResultRecord, recipe: Recipe) -> str:
    """What FID compares with."""
    if not recipe.needs_statistics or record.reference is None:
        return "the references of the evaluation set"
    return f"{record.reference.name} ({record.reference.count:,} images)"


def _input(metric: MetricValue) -> str:
    """What a network sees, and its weights; empty where there is no network."""
    if metric.backbone == PIXELS or metric.backbone not in SPECS:
        return ""
    definition = SPECS[metric.backbone].definition
    steps = [str(definition[key]) for key in ("resize", "crop") if definition.get(key, "none") != "none"]
    weights = f"weights {metric.weights_sha256[:8]}" + ("" if metric.canonical else ", not the published ones")
    in_precision = [] if metric.precision == FLOAT32 else [f"in {metric.precision}"]
    sees = "; ".join(steps) if steps else "images as they are"
    return f"Input of {metric.backbone}: {sees} ({', '.join([weights, *in_precision])})"
