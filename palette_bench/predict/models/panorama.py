"""Panoramas: an image made wider by uncropping it again and again (Figures 2 and C.10 of the paper).

Each step gives the model the outermost half of what there is beside an equally wide hole, and appends what it puts
there. Pixels that are there are never touched again. From a centre of S pixels the paper goes four steps to the right
and four to the left: S x 5 S, 256 x 1280.
"""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np

from palette_bench.artifacts.evalset import EvalItem, EvalSet
from palette_bench.artifacts.predictions import software
from palette_bench.common.canonical import canonical_json, pixel_digest
from palette_bench.common.errors import UsageError
from palette_bench.common.progress import Progress, Silent
from palette_bench.images.holes import fixed_hole
from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import Adapter, ModelInput, Place, Wanted
from palette_bench.predict.adapters.checks import checked_outputs, items_of
from palette_bench.predict.adapters.hosting import ONE_THREAD, Host
from palette_bench.predict.adapters.runners import build_runner, check_runnable
from palette_bench.predict.card import AdapterKind, Card
from palette_bench.predict.run import model_of
from palette_bench.protocol.tasks import TASKS, Task

SCHEMA = 1
SEED_RULE = 'first 63 bits of sha256 of canonical JSON ["panorama", run seed, item id, side, step], steps from 1'


class Side(StrEnum):
    """Where a panorama grows."""

    RIGHT = "right"
    LEFT = "left"

    @property
    def task(self) -> Task:
        """The task of every step."""
        return TASKS["uncrop" if self is Side.RIGHT else "uncrop-left"]


def seed_of_step(run_seed: int, item_id: str, side: Side, step: int) -> int:
    """The seed of one step, 0 <= seed < 2**63: a function of what is made alone."""
    digest = hashlib.sha256(canonical_json(["panorama", run_seed, item_id, side.value, step])).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def extend(
    adapter: Adapter,
    images: Mapping[str, ImageU8],
    *,
    side: Side,
    steps: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, ImageU8]:
    """Images [S, W, 3] by id, all of one size with W >= S / 2, made wider by ``steps`` times S / 2.

    ``adapter`` is built for the side's task and size S. Raises UsageError for images that cannot be halved, InputError
    for outputs of another shape or type.
    """
    sizes = sorted({image.shape[:2] for image in images.values()})
    size, width = sizes[0] if len(sizes) == 1 else (0, 0)
    if size == 0 or size % 2 or 2 * width < size:
        raise UsageError(
            "images that cannot be extended",
            expected="one size: an even number of rows, and at least half as many columns",
            found=", ".join("x".join(map(str, shape)) for shape in sizes) or "none",
        )
    hole, half = np.array(fixed_hole(side.task.hole, size)), size // 2
    wide = dict(images)
    with (progress or Silent()).task(f"panorama, {side.value}", steps, "steps") as shown:
        for step in range(1, steps + 1):
            inputs = [
                ModelInput(name, _condition(image, side, half), hole.copy(), None, seed_of_step(seed, name, side, step))
                for name, image in wide.items()
            ]
            outputs = checked_outputs("panorama", inputs, adapter.predict(inputs))
            for name, output in zip(list(wide), outputs, strict=True):
                new = output[:, half:] if side is Side.RIGHT else output[:, :half]
                parts = (wide[name], new) if side is Side.RIGHT else (new, wide[name])
                wide[name] = np.concatenate(parts, axis=1)
            shown.advance()
    return wide


def _condition(image: ImageU8, side: Side, half: int) -> ImageU8:
    """What a step is given: the outermost half of the image where it is known, black where it is to grow."""
    condition = np.zeros((2 * half, 2 * half, 3), dtype=np.uint8)
    if side is Side.RIGHT:
        condition[:, :half] = image[:, -half:]
    else:
        condition[:, half:] = image[:, :half]
    return condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which panoramas of a set: ``items`` by id, ``width`` in units of the image's side, where they grow, the seed.

    ``seconds`` is the time limit of a step (None: the card's, or none).
    """

    items: Sequence[str]
    width: int = 5
    sides: tuple[Side, ...] = (Side.RIGHT, Side.LEFT)
    seed: int = 0
    device: str = "cpu"
    seconds: float | None = None

    @property
    def steps(self) -> int:
        """Steps at each side, each of half an image: ``width`` - 1 at both, twice as many at one."""
        return 2 * (self.width - 1) // len(self.sides)


@dataclass(frozen=True, slots=True)
class Panoramas:
    """What was made: the images [S, width S, 3] by item, and an account of them as plain data."""

    images: Mapping[str, ImageU8]
    described: Mapping[str, object]


def make_panoramas(eval_set: EvalSet, card: Card, plan: Plan, *, progress: Progress) -> Panoramas:
    """Panoramas of a set's references by a card's model.

    Raises UsageError for items that the set does not have and for a model that cannot uncrop at a side or does not
    run here, and what the model raises.
    """
    items = _items(eval_set, plan.items)
    _check(card, eval_set.size, plan.sides)
    weights = card.checked_weights()
    images: dict[str, ImageU8] = {item.id: eval_set.reference(item) for item in items}
    for side in plan.sides:
        with tempfile.TemporaryDirectory(prefix="palette-bench-") as folder:
            place = Place(
                set_id=eval_set.set_id,
                task=side.task,
                size=eval_set.size,
                samples=1,
                device=plan.device,
                weights=weights,
                search=Path.cwd(),
                log=Path(folder) / "model.log",
                seconds=plan.seconds,
            )
            with _Hosted(card, place, plan.seconds) as model:
                images = extend(model, images, side=side, steps=plan.steps, seed=plan.seed, progress=progress)
    return Panoramas(images, _account(eval_set, card, plan, items, images))


class _Service:
    """In a host: the runner of a card."""

    def __init__(self, card: Card, place: Place) -> None:
        self._runner = build_runner(card, place)

    def __call__(self, batch: list[Wanted]) -> list[ImageU8]:
        return self._runner.run(batch)

    def close(self) -> None:
        self._runner.close()


class _Hosted:
    """A card's model, in a process of its own, as an adapter."""

    def __init__(self, card: Card, place: Place, seconds: float | None) -> None:
        self._seconds = None if card.adapter.kind is AdapterKind.SUBPROCESS else seconds
        self._host = Host[list[Wanted], list[ImageU8]](
            partial(_Service, card, place),
            name=card.name,
            environment=ONE_THREAD if place.device == "cpu" else {},
            seconds=self._seconds,
        )

    def __enter__(self) -> "_Hosted":
        try:
            self._host.answer()
        except BaseException:
            self._host.stop()
            raise
        return self

    def predict(self, inputs: Sequence[ModelInput]) -> list[ImageU8]:
        self._host.ask([Wanted(given, 0) for given in inputs], about=items_of(inputs), seconds=self._seconds)
        return self._host.answer()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._host.finish()
        else:
            self._host.stop()


def _items(eval_set: EvalSet, wanted: Sequence[str]) -> list[EvalItem]:
    by_id = {item.id: item for item in eval_set.items}
    if missing := [name for name in wanted if name not in by_id] or ([] if wanted else ["none"]):
        raise UsageError(
            "no such items",
            where=eval_set.set_id,
            expected=f"ids of the set's manifest, such as {eval_set.items[0].id}",
            found=", ".join(missing),
        )
    return [by_id[name] for name in dict.fromkeys(wanted)]


def _check(card: Card, size: int, sides: Sequence[Side]) -> None:
    check_runnable(card)
    if card.adapter.kind not in (AdapterKind.PYTHON, AdapterKind.SUBPROCESS):
        raise UsageError(
            f"{card.name} is no model that can go on from its own output",
            expected="an adapter of kind python or subprocess",
            found=card.adapter.kind.value,
        )
    for side in sides:
        card.check_can_do(side.task.name, size)


def _account(
    eval_set: EvalSet, card: Card, plan: Plan, items: Sequence[EvalItem], images: Mapping[str, ImageU8]
) -> dict[str, object]:
    def seeds(item: EvalItem) -> dict[str, list[int]]:
        return {
            side.value: [seed_of_step(plan.seed, item.id, side, step) for step in range(1, plan.steps + 1)]
            for side in plan.sides
        }

    return {
        "schema": SCHEMA,
        "set": eval_set.set_id,
        "version": eval_set.version,
        "set_fingerprint": eval_set.fingerprint,
        "data_digest": eval_set.data_digest,
        "size": eval_set.size,
        "width": plan.width,
        "model": model_of(card),
        "seed": plan.seed,
        "seed_rule": SEED_RULE,
        "items": [
            {
                "id": item.id,
                "reference_sha256": item.reference_digest,
                "seeds": seeds(item),
                "sha256": pixel_digest(images[item.id]),
            }
            for item in items
        ],
        "software": software(),
    }
