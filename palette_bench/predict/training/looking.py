"""Looking at all training images before the first step: every fault in one list, or left out by name."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from palette_bench.common.errors import InputError, Problem
from palette_bench.common.files import exclusive, read_json, write_json
from palette_bench.common.progress import Progress
from palette_bench.common.workers import run_chunks
from palette_bench.predict.training.examples import TrainingSource
from palette_bench.predict.training.sources import Photographs

IMAGES_FILE = "images.json"
"""In the folder of a run: what was seen of its images, which are not looked at again."""
CHUNK = 64
SHOWN = 10


class _Look:
    """Decodes some images: how many, and what is wrong with which."""

    def __init__(self, source: Photographs) -> None:
        self._source = source

    def __call__(self, positions: Sequence[int]) -> tuple[int, dict[int, str]]:
        faults = {position: self._source.fault(position) for position in positions}
        return len(positions), {position: fault for position, fault in faults.items() if fault is not None}


def looked_over(source: TrainingSource, out: Path, *, skip_bad: bool, jobs: int, progress: Progress) -> TrainingSource:
    """The source without images that cannot be used, if ``skip_bad``; drawn scenes as they are.

    The first of several processes looks, and the others wait for what it saw; a run that goes on takes what was seen
    when it began, so that its images stay the same. Raises InputError with every image that cannot be used.
    """
    if not isinstance(source, Photographs):
        return source
    with exclusive(out / ".images.lock", purpose=f"looking at the images of {out}", seconds=math.inf):
        bad = _known(source, out)
        if bad is None or (bad and not skip_bad):
            bad = _look(source, jobs=jobs, progress=progress)
            if bad and not skip_bad:
                raise _refused(source, bad)
            write_json(out / IMAGES_FILE, {**source.identity(), "bad": {str(k): why for k, why in bad.items()}})
            if bad:
                shown = ", ".join(source.files.where(position) for position in list(bad)[:SHOWN])
                more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
                progress.note(f"left out {len(bad)} of {len(source.files)} images that cannot be used: {shown}{more}")
    return source.without(list(bad)) if bad else source


def _known(source: Photographs, out: Path) -> dict[int, str] | None:
    """What was seen of these very files before, by place; None if they were not looked at."""
    try:
        content = read_json(out / IMAGES_FILE, kind="images")
    except InputError:
        return None
    bad = content.get("bad")
    if not isinstance(bad, dict) or any(content.get(key) != value for key, value in source.identity().items()):
        return None
    if not all(key.isdigit() and int(key) < len(source.files) for key in bad):
        return None
    return {int(key): str(why) for key, why in bad.items()}


def _look(source: Photographs, *, jobs: int, progress: Progress) -> dict[int, str]:
    bad: dict[int, str] = {}
    count = len(source.files)
    with progress.task("looking at the images", count, "images") as task:
        for done, faults in run_chunks(partial(_Look, source), range(count), size=CHUNK, processes=jobs):
            bad |= faults
            task.advance(done)
    if len(bad) == count:
        raise _refused(source, bad)
    return dict(sorted(bad.items()))


def _refused(source: Photographs, bad: dict[int, str]) -> InputError:
    return InputError(
        f"{len(bad)} of {len(source.files)} training images cannot be used",
        expected="images that decode, of one frame, without transparency",
        problems=[Problem("bad-image", source.files.where(position), why) for position, why in sorted(bad.items())],
        next_step="repair or remove them, or leave them out with --skip-bad",
    )
