"""``study check``: what would give the truth away, or make the study worthless, before anybody is asked."""

import datetime
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import PaletteBenchError
from palette_bench.images.types import ImageU8
from palette_bench.study.definition import Assignment, Platform, Study, read_study
from palette_bench.study.server import origin_of
from palette_bench.study.stimuli import read_stimuli, read_stimulus
from palette_bench.study.texts import load_texts

TELL = 0.9
"""A single number of an image that tells real from generated with at least this AUC is worth a warning."""
FEWEST_RATERS = 10


class Weight(StrEnum):
    """How bad a finding is: an error keeps a study from being served."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was noticed."""

    weight: Weight
    what: str

    def as_json(self) -> dict[str, str]:
        """Plain data."""
        return {"weight": self.weight.value, "what": self.what}


def check_study(folder: Path, *, today: datetime.date | None = None) -> list[Finding]:
    """Everything noticed about a study, worst first. Raises nothing: what cannot be read is a finding."""
    try:
        study = read_study(folder)
    except PaletteBenchError as error:
        return [Finding(Weight.ERROR, str(error))]
    found = [*_about_people(study, today or datetime.datetime.now(tz=datetime.UTC).date()), *_about_design(study)]
    try:
        load_texts(study.language, folder)
        sizes = {len(data) for data in read_stimuli(folder, study).values()}
        found.append(Finding(Weight.NOTE, f"all images are served as PNG of {sizes.pop():,} bytes"))
    except PaletteBenchError as error:
        found.append(Finding(Weight.ERROR, str(error)))
    else:
        found += _about_images(folder, study)
    return sorted(found, key=lambda finding: list(Weight).index(finding.weight))


def _about_people(study: Study, today: datetime.date) -> list[Finding]:
    ethics, recruitment = study.ethics, study.recruitment
    found = [
        Finding(Weight.ERROR, f"ethics.{name} is empty: raters must know who asks and whom they can write to")
        for name in ("institution", "contact")
        if not getattr(ethics, name).strip()
    ]
    if not ethics.approval.strip():
        found.append(Finding(Weight.WARNING, "ethics.approval is empty: say who approved, or that nobody has to"))
    if ethics.retention <= today:
        found.append(Finding(Weight.ERROR, f"ethics.retention {ethics.retention} is past: run study anonymize"))
    bad = [address for address in recruitment.return_addresses if not origin_of(address)]
    found += [Finding(Weight.ERROR, f"return address {address} is not https") for address in bad]
    if recruitment.platform is Platform.PROLIFIC:
        for outcome in ("completed", "screened"):
            if outcome not in recruitment.codes:
                found.append(Finding(Weight.ERROR, f"recruitment.codes has no {outcome}: Prolific gives you the codes"))
    if recruitment.platform is Platform.OPEN:
        found.append(Finding(Weight.WARNING, "an open link: one person may take part several times"))
    return found


def _about_design(study: Study) -> list[Finding]:
    trials, rules, models = study.trials, study.exclusions, len(study.models)
    found = []
    period = 2 * models if trials.assignment is Assignment.LATIN_SQUARE else 2
    if trials.raters_per_set % period:
        found.append(
            Finding(
                Weight.WARNING,
                f"trials.raters_per_set {trials.raters_per_set} is not a multiple of {period}: "
                "some items will be seen more often with one model, or on one side",
            )
        )
    if trials.raters_per_set < FEWEST_RATERS:
        found.append(Finding(Weight.WARNING, f"{trials.raters_per_set} raters a set: intervals will be very wide"))
    if trials.practice and rules.practice_correct <= trials.practice / 2:
        found.append(Finding(Weight.WARNING, "exclusions.practice_correct: guessing passes"))
    if not trials.catch:
        found.append(Finding(Weight.WARNING, "no catch trials: raters who do not look cannot be told"))
    if trials.layout.value == "pair" and min(trials.exposure_ms) < 100:
        found.append(Finding(Weight.WARNING, "an exposure below 100 ms: too short for two images side by side"))
    return found


def _about_images(folder: Path, study: Study) -> list[Finding]:
    """Numbers of single images that tell real ones from outputs, and images that cannot be told by anybody."""
    times = study.source.enlarge

    def shown(digest: str) -> ImageU8:
        # Enlarging makes a grid of its own, in real images and outputs alike.
        return read_stimulus(folder, digest)[::times, ::times]

    references = [shown(item.reference) for item in study.items]
    found: list[Finding] = []
    by_outputs: dict[tuple[str, ...], list[str]] = {}
    for place, model in enumerate(study.models):
        digests = tuple(item.outputs[place] for item in study.items)
        by_outputs.setdefault(digests, []).append(model.name)
        same = sum(item.outputs[place] == item.reference for item in study.items)
        if same:
            found.append(
                Finding(Weight.WARNING, f"{model.name}: {same} outputs equal their reference: nothing can be told")
            )
        if len(set(digests)) < len(digests):
            found.append(Finding(Weight.WARNING, f"{model.name}: the same output for several items"))
        outputs = [shown(digest) for digest in digests]
        for name, measure in _TELLS.items():
            tell = auc([measure(image) for image in references], [measure(image) for image in outputs])
            if max(tell, 1 - tell) >= TELL:
                found.append(
                    Finding(
                        Weight.WARNING,
                        f"{model.name}: {name} alone tells outputs from real images (AUC {max(tell, 1 - tell):.2f})",
                    )
                )
    found += [
        Finding(Weight.ERROR, f"{' and '.join(names)} have equal outputs")
        for names in by_outputs.values()
        if len(names) > 1
    ]
    return found


def auc(first: Sequence[float], second: Sequence[float]) -> float:
    """The chance that a value of ``second`` is above one of ``first``, ties half (area under the ROC curve)."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    above = (b[:, None] > a[None, :]).sum() + 0.5 * (b[:, None] == a[None, :]).sum()
    return float(above / (len(a) * len(b)))


def _luma(image: ImageU8) -> NDArray[np.float64]:
    grey: NDArray[np.float64] = image.astype(np.float64).mean(axis=2)
    return grey


def byte_size(image: ImageU8) -> float:
    """How far an image compresses: what its size as an ordinary PNG would tell."""
    differences = np.diff(image.astype(np.int16), axis=1).astype(np.uint8)
    return float(len(zlib.compress(differences.tobytes(), 6)))


def jpeg_grid(image: ImageU8) -> float:
    """Steps across every eighth column and row over all others: JPEG's blocks raise it above 1."""
    grey = _luma(image)
    ratio = 0.0
    for steps in (np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0)).T):
        edge = np.arange(steps.shape[1]) % 8 == 7
        if not edge.any() or edge.all():
            return 1.0
        ratio += float(steps[:, edge].mean() / max(steps[:, ~edge].mean(), 1e-9)) / 2
    return ratio


def fine_detail(image: ImageU8) -> float:
    """The share of an image's power in the upper half of its frequencies: enlarged images have none."""
    grey = _luma(image)
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    high = [np.abs(np.fft.fftfreq(n)) > 0.25 for n in grey.shape]
    total = float(power.sum())
    return math.log10((float(power[high[0][:, None] | high[1][None, :]].sum()) + 1e-9) / (total + 1e-9))


_TELLS: dict[str, Callable[[ImageU8], float]] = {
    "the size of a compressed file (files are served uncompressed)": byte_size,
    "a grid of JPEG blocks": jpeg_grid,
    "the amount of fine detail (resolution)": fine_detail,
}
