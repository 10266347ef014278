"""Fool rates of a study's models by set and exposure, with intervals (Figures C.1 and C.6 of the paper)."""

from collections.abc import Sequence

from palette_bench.common.errors import InputError, UsageError
from palette_bench.publish.figures.account import Figure, figure
from palette_bench.publish.figures.grid import WIDTH_INCHES
from palette_bench.publish.figures.histogram import COLOURS
from palette_bench.publish.figures.page import Page, drawable
from palette_bench.study.record import FoolRate, StudyRecord

DPI = 300.0
HEIGHT_INCHES = 2.6
LEFT_INCHES, RIGHT_INCHES, TOP_INCHES, BOTTOM_INCHES = 0.5, 0.1, 0.3, 0.4
POINTS = 7.5


def fool_rate(records: Sequence[StudyRecord], *, width: float = WIDTH_INCHES) -> Figure:
    """A group of bars for each set and exposure, a bar for each model, 95 % two-way intervals, a line at one half.

    ``records`` are of one set and task, and may be of several exposures. Numbers are of the raters kept. Raises
    InputError for records of different images, or without a rater kept; UsageError for too many models.
    """
    first = records[0]
    models = list(dict.fromkeys(model.name for record in records for model in record.models))
    titles = {model.name: model.title for record in records for model in record.models}
    if len(models) > len(COLOURS):
        raise UsageError("too many models in one figure", expected=f"at most {len(COLOURS)}", found=len(models))
    for record in records[1:]:
        if (record.source.data_digest, record.source.task) != (first.source.data_digest, first.source.task):
            raise InputError(
                "studies of different images in one figure",
                expected=f"{first.source.set}, {first.source.task}",
                found=f"{record.source.set}, {record.source.task}",
            )
    groups: dict[tuple[int, int], list[FoolRate]] = {}
    for record in records:
        for rate in record.rates:
            if rate.set or record.trials.sets == 1:
                groups.setdefault((rate.set, rate.exposure_ms), []).append(rate)
    shown = {key: [rate for rate in rates if rate.kept is not None] for key, rates in sorted(groups.items())}
    if not any(shown.values()):
        raise InputError("no rater was kept in these studies", where=first.name)
    caption = _caption(records, titles)
    with Page(round(width * DPI), round(HEIGHT_INCHES * DPI), DPI) as page:
        axes = page.axes(
            LEFT_INCHES * DPI,
            TOP_INCHES * DPI,
            (width - LEFT_INCHES - RIGHT_INCHES) * DPI,
            (HEIGHT_INCHES - TOP_INCHES - BOTTOM_INCHES) * DPI,
        )
        each = 0.8 / len(models)
        for place, rates in enumerate(shown.values()):
            for rate in rates:
                number = models.index(rate.model)
                x = place + (number - (len(models) - 1) / 2) * each
                kept = rate.kept
                if kept is None:
                    continue
                axes.bar(x, 100 * kept.value, 0.92 * each, color=COLOURS[number], alpha=0.75, linewidth=0)
                if kept.low is not None and kept.high is not None:
                    axes.vlines(x, 100 * kept.low, 100 * kept.high, color="#141414", linewidth=0.9)
        axes.axhline(50.0, color="#6e6e6e", linewidth=0.7, linestyle=(0, (4, 3)))
        axes.set_xticks(range(len(shown)), [_group_name(*key) for key in shown], fontsize=POINTS)
        axes.set_ylabel("fool rate (%)", fontsize=POINTS)
        axes.set_ylim(0.0, max(60.0, *(100 * (r.kept.high or 0.0) + 5 for rs in shown.values() for r in rs if r.kept)))
        axes.tick_params(labelsize=POINTS, width=0.6, length=2.5)
        axes.spines[["top", "right"]].set_visible(False)
        _legend(axes, [drawable(titles[name]) for name in models])
        drawn = page.drawn(title=f"{first.name}, fool rates", caption=caption)
    return figure(
        "fool-rate",
        caption,
        drawn,
        {
            "set": {"id": first.source.set, "version": first.source.version, "data_digest": first.source.data_digest},
            "task": {"name": first.source.task, "fingerprint": first.source.task_fingerprint},
            "studies": [
                {
                    "name": record.name,
                    "result_id": record.result_id,
                    "seal": record.seal,
                    "simulated": record.simulated,
                    "rates": [
                        {
                            "model": rate.model,
                            "set": rate.set,
                            "exposure_ms": rate.exposure_ms,
                            "value": rate.kept.value,
                            "low": rate.kept.low,
                            "high": rate.kept.high,
                            "signature": rate.signature,
                        }
                        for rate in record.rates
                        if rate.kept is not None
                    ],
                }
                for record in records
            ],
            "width_inches": width,
        },
    )


def _group_name(number: int, exposure_ms: int) -> str:
    seconds = f"{exposure_ms / 1000:g} s"
    return f"Set {number}, {seconds}" if number else seconds


def _legend(axes: object, titles: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, alpha=0.75) for colour, _ in zip(COLOURS, titles, strict=False)]
    legend = axes.legend(  # type: ignore[attr-defined]
        handles,
        ["." for _ in titles],
        fontsize=POINTS,
        frameon=False,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=len(titles),
        handlelength=1.0,
    )
    for text, title in zip(legend.get_texts(), titles, strict=True):
        text.set_parse_math(False)
        text.set_text(title)


def _caption(records: Sequence[StudyRecord], titles: dict[str, str]) -> str:
    first = records[0]
    trials = first.trials
    raters = sum(record.flow.kept for record in records)
    rehearsed = " Raters were simulated: this is a rehearsal." if any(record.simulated for record in records) else ""
    return (
        f"Human evaluation of {first.source.task} on {first.source.set}: how often raters took the output for the real "
        f"image, two alternatives, {trials.sets * trials.items_per_set} items in {trials.sets} disjoint sets, "
        f"{raters} raters kept. Bars are {', '.join(drawable(title) for title in titles.values())}; lines are 95 % "
        f"intervals over raters and items; the dashed line is 50 %, where nobody can tell.{rehearsed}"
    )
