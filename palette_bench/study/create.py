"""``study new``: items drawn from an evaluation set, their images written, and the study's file."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.common.progress import Progress
from palette_bench.images.types import ImageU8
from palette_bench.study.definition import (
    FORMAT,
    STUDY_FILE,
    Ethics,
    Fakes,
    Item,
    Layout,
    Model,
    Platform,
    Recruitment,
    Source,
    Stimuli,
    Study,
    Trials,
    faults,
    load_preset,
    write_study,
)
from palette_bench.study.design import draw
from palette_bench.study.keys import make_keys
from palette_bench.study.stimuli import StimulusWriter, mosaic, outputs_digest

COLOUR_PLATES = 4
RETENTION_YEARS = 2
SHOWN_SIDE = 256
"""Smaller images are enlarged by the whole factor that comes nearest to this side without passing it."""
RETURN_ADDRESSES = {
    Platform.PROLIFIC: ("https://app.prolific.com/submissions/complete",),
    Platform.MTURK: ("https://www.mturk.com", "https://workersandbox.mturk.com"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``study new`` is told; None leaves a setting to the preset."""

    name: str
    preset: str
    seed: str = "0"
    language: str = "en"
    platform: Platform = Platform.SEATS
    sets: int | None = None
    items_per_set: int | None = None
    raters_per_set: int | None = None
    exposure_ms: tuple[int, ...] = ()
    practice: int | None = None
    catch: int | None = None
    institution: str = ""
    contact: str = ""
    approval: str = ""
    retention: datetime.date | None = None


class Images(Protocol):
    """Where a study's images come from; an item is its place in the evaluation set."""

    def reference(self, item: int) -> ImageU8:
        """The real image."""

    def output(self, model: int, item: int) -> ImageU8:
        """A model's output. Raises InputError."""

    def condition(self, item: int) -> ImageU8:
        """What the models were given."""


def shown_factor(size: int) -> int:
    """The whole factor at which images of ``size`` are shown."""
    return max(1, SHOWN_SIDE // size)


def trials_for(settings: Settings, *, colour: bool) -> Trials:
    """A preset's trials with the settings in their place."""
    trials = load_preset(settings.preset).trials
    changes: dict[str, object] = {
        name: value
        for name in ("sets", "items_per_set", "raters_per_set", "practice", "catch")
        if (value := getattr(settings, name)) is not None
    }
    if settings.exposure_ms:
        changes["exposure_ms"] = settings.exposure_ms
    if colour and trials.plates == 0:
        changes["plates"] = COLOUR_PLATES
    return replace(trials, **changes)  # type: ignore[arg-type]


def make_study(
    folder: Path,
    settings: Settings,
    source: Source,
    ids: Sequence[str],
    models: Sequence[tuple[str, str]],
    images: Images,
    *,
    colour: bool,
    progress: Progress,
) -> Study:
    """Write a study of ``models`` (names and titles) on an evaluation set with items ``ids``.

    The items of the sets, of practice and of catch trials are drawn without repetition, and are the same whatever the
    models. Raises UsageError where a study is there already or the set is too small, InputError with every output that
    cannot be used.
    """
    if (folder / STUDY_FILE).exists():
        raise UsageError("there is a study here already", where=folder, next_step="choose another --out")
    trials = trials_for(settings, colour=colour)
    exclusions = load_preset(settings.preset).exclusions
    if trials.practice < exclusions.practice_correct:
        exclusions = replace(exclusions, practice_correct=trials.practice * 4 // 5)
    if trials.plates:
        exclusions = replace(exclusions, plates_correct=trials.plates - 1)
    if trials.catch == 0:
        exclusions = replace(exclusions, catch_correct=0.0)
    count = trials.sets * trials.items_per_set
    wanted = count + trials.practice + trials.catch
    if wanted > len(ids):
        raise UsageError(
            "the evaluation set is too small for this study",
            where=source.set,
            expected=f"{wanted} items: {count}, {trials.practice} for practice, {trials.catch} catch trials",
            found=f"{len(ids)} items",
            next_step="ask for fewer items, or use another set",
        )
    places = draw(["study items", source.set, source.version, source.task, settings.seed], len(ids), wanted)
    writer = StimulusWriter(folder, source.enlarge)
    problems: list[Problem] = []
    outputs: list[dict[str, str]] = [{} for _ in models]

    def output(model: int, place: int) -> str:
        try:
            digest = writer.put(images.output(model, place))
        except InputError as error:
            problems.append(Problem(models[model][0], ids[place], error.what))
            return ""
        outputs[model][ids[place]] = digest
        return digest

    def item(place: int, digests: tuple[str, ...], number: int = 0) -> Item:
        condition = writer.put(images.condition(place)) if trials.layout is Layout.TRIPLE else ""
        return Item(
            id=ids[place],
            set=number,
            reference=writer.put(images.reference(place)),
            outputs=digests,
            condition=condition,
        )

    with progress.task("images of the study", wanted, "items") as task:
        items = []
        for number, place in enumerate(places[:count]):
            digests = tuple(output(model, place) for model in range(len(models)))
            items.append(item(place, digests, number // trials.items_per_set + 1))
            task.advance()
        practice = []
        for number, place in enumerate(places[count : count + trials.practice]):
            if trials.practice_fakes is Fakes.MODELS:
                digest = output(number % len(models), place)
            else:
                digest = writer.put(mosaic(images.reference(place)))
            practice.append(item(place, (digest,)))
            task.advance()
        catch = []
        for place in places[count + trials.practice :]:
            catch.append(item(place, (writer.put(mosaic(images.reference(place))),)))
            task.advance()
    if problems:
        raise InputError(
            "predictions cannot be used for a study",
            problems=problems,
            next_step="palette-bench score says everything that is wrong with a folder of predictions",
        )
    study = Study(
        format=FORMAT,
        name=settings.name,
        preset=settings.preset,
        seed=settings.seed,
        language=settings.language,
        source=source,
        trials=trials,
        exclusions=exclusions,
        recruitment=Recruitment(
            platform=settings.platform,
            return_addresses=RETURN_ADDRESSES.get(settings.platform, ()),
            codes={},
        ),
        ethics=Ethics(
            institution=settings.institution,
            contact=settings.contact,
            approval=settings.approval,
            consent_version="1",
            retention=settings.retention or _in_years(RETENTION_YEARS),
            minutes=minutes_of(trials),
        ),
        stimuli=Stimuli(
            models=tuple(
                Model(name=name, title=title, outputs_digest=outputs_digest(outputs[number]))
                for number, (name, title) in enumerate(models)
            ),
            items=tuple(items),
            practice=tuple(practice),
            catch=tuple(catch),
        ),
    )
    if found := faults(study):
        raise UsageError("these settings make no study", problems=found)
    make_keys(folder)
    write_study(study, folder)
    return study


def _in_years(years: int) -> datetime.date:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return today.replace(year=today.year + years, day=min(today.day, 28))


def minutes_of(trials: Trials) -> int:
    """About how long a rater takes: exposures, a second and a half for an answer, half a minute of reading."""
    shown = max(trials.exposure_ms) * (2 if trials.layout is Layout.SEQUENCE else 1) + trials.gap_ms
    each = (shown + trials.fixation_ms + trials.pause_ms + 1500) / 1000
    count = trials.items_per_set + trials.practice + trials.catch
    return max(1, round((count * each + trials.plates * 6 + 60) / 60))
