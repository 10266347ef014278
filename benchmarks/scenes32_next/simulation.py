"""What perfect samplers, means and classical methods would score in scenes32, version 2: no network is trained for it.

python -m benchmarks.scenes32_next.simulation

A sampler draws from the generator what the condition hides, the mean is that of many such draws, which is what a
perfect regression gives. What is exact, and what is not:

- colorization: luma and hue are drawn independently, so that drawing all hues and chromas anew, the host's axis from
  what its shape tells, is the posterior, but for chroma noise and clipping;
- a hole: an object of which at least ``SEEN`` pixels are visible is known for certain, its marks but for their places
  inside the hole; others are drawn anew from what light and texture tell until they are hidden. A real posterior is
  less certain of what is seen in part;
- JPEG: the class is drawn from what a network trained on decoded scenes says, its temperature fitted on others; the
  dashes by Gibbs sampling under the exact probability of the quantised luma, sensor noise included; chroma is put into
  the file's cells. Geometry, light and texture are taken for known.

The mean is of the same draws, so both know the same. FID is against the 10,000 scenes of the reference split.
"""

import argparse
import importlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.special import ndtr, ndtri
from torch.nn import functional

from benchmarks.scenes32_next import world
from benchmarks.scenes32_next.judge import Judge, outputs, save
from benchmarks.scenes32_next.world import Bits, Facts
from palette_bench.artifacts.seeds import seed_of
from palette_bench.images.condition import decode_jpeg, encode_jpeg, hole_of, make_condition
from palette_bench.images.freeform import freeform_mask, words_per_candidate
from palette_bench.images.holes import composited
from palette_bench.predict.adapters.base import Setting
from palette_bench.predict.card import find_card
from palette_bench.predict.run import given_of
from palette_bench.prepare.sources.scenes32 import HOSTS, SATELLITES, SIZE, Split
from palette_bench.protocol.tasks import TASKS, FreeformBrush
from palette_bench.score.backbones.scenes32 import to_input
from palette_bench.score.metrics.accuracy import accuracy
from palette_bench.score.metrics.frechet import frechet_distance, moments
from palette_bench.score.metrics.inception_score import inception_score
from palette_bench.score.metrics.perceptual import Power, perceptual_distance

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
SEEN = 8.0
"""From how many visible pixels on an object is known."""
ELSEWHERE = 1 << 40
"""The first scene of the train split that nothing else reaches."""
POSTERIOR_SCENES = 90_000
QUALITIES = (20, 10, 5)
SWEEPS = 6
NAMES = (
    "colorize",
    "inpaint-center",
    "inpaint-freeform-10-20",
    "inpaint-freeform-20-30",
    "inpaint-freeform-30-40",
    "uncrop",
    "jpeg-qf20",
    "jpeg-qf10",
    "jpeg-qf5",
)
CLASSICAL = {
    "colorize": ("mean-chroma", "chroma-by-luminance", "retrieval"),
    "jpeg": ("shifted-jpeg", "total-variation", "bilateral", "non-local-means", "median", "gaussian"),
    "hole": (
        "telea",
        "navier-stokes",
        "biharmonic",
        "push-pull",
        "patchmatch",
        "edge",
        "mean",
        "total-variation",
        "mirror",
        "tile",
    ),
}


def to_uint8(values: Floats) -> Images:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def luma(images: Floats) -> Floats:
    grey: Floats = images @ np.array([0.299, 0.587, 0.114])
    return grey


def in_parts(n: int, made: Callable[[NDArray[np.int64]], NDArray[np.uint8]]) -> Images:
    return np.concatenate([made(part) for part in np.array_split(np.arange(n), max(1, n // 100))])


def told(kind: NDArray[np.int64], kinds: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """What company suggests, right as often as company is."""
    other = (kind + 1 + draw.integers(0, kinds - 1, len(kind))) % kinds
    return np.where(draw.random(len(kind)) < world.COMPANY_RATE, kind, other)


def hue(family: NDArray[np.int64], families: int, draw: np.random.Generator) -> Floats:
    n = len(family)
    turned = draw.integers(0, 2, n) * math.pi + draw.uniform(-world.HUE_SPREAD, world.HUE_SPREAD, n)
    angle: Floats = family / families * math.pi + turned
    return angle


def fresh(n: int, draw: np.random.Generator) -> NDArray[np.int64]:
    return ELSEWHERE + draw.integers(0, 1 << 30, n)


def coloured(images: Images, facts: Facts, draw: np.random.Generator) -> Images:
    """A draw of the colours that the grey images leave open."""
    n = len(images)
    ground = hue(facts.satellite, len(SATELLITES), draw)
    other = replace(
        facts,
        host_hue=hue(told(facts.host, world.HUES, draw), world.HUES, draw),
        satellite_hue=hue(facts.host, len(HOSTS), draw),
        ground_hue=ground,
        ground_second_hue=ground + draw.choice([-1, 1], n) * draw.uniform(0.6, 1.2, n),
        ground_chroma=draw.uniform(*world.GROUND_CHROMA, n),
        host_chroma=draw.uniform(*world.HOST_CHROMA, n),
        satellite_chroma=draw.uniform(*world.SATELLITE_CHROMA, n),
    )
    noise, index = fresh(n, draw), np.arange(n)
    made = in_parts(n, lambda p: world.draw(Split.EVAL, index[p], other.part(p), Bits(noise=noise[p]))).astype(float)
    return to_uint8(made + (luma(images.astype(float)) - luma(made))[..., None])


def visible(facts: Facts, holes: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """How many pixels of host and satellite are outside the hole, each [n]."""
    both = [world.coverage(facts.part(p)) for p in np.array_split(np.arange(len(holes)), max(1, len(holes) // 100))]
    host, satellite = (np.concatenate([pair[k] for pair in both]) for k in (0, 1))
    return (host * ~holes).sum(axis=(1, 2)), (satellite * ~holes).sum(axis=(1, 2))


_PLACE = ("x", "y", "radius", "turn", "luma", "chroma")


def filled(images: Images, facts: Facts, holes: NDArray[np.bool_], draw: np.random.Generator) -> Images:
    """A draw of what is in the holes."""
    n, index = len(images), np.arange(len(images))
    seen = visible(facts, holes)
    hidden = {"host": seen[0] < SEEN, "satellite": seen[1] < SEEN}
    new = {field.name: getattr(facts, field.name).copy() for field in fields(facts)}
    todo = np.flatnonzero(hidden["host"] | hidden["satellite"])
    for _ in range(60):
        if not len(todo):
            break
        drawn = world.describe(Split.TRAIN, fresh(len(todo), draw))
        light = facts.ground_luma[todo] / drawn.ground_luma
        for name, absent in hidden.items():
            there = absent[todo]
            for what in _PLACE:
                values = getattr(drawn, f"{name}_{what}") * (light if what == "luma" else 1.0)
                new[f"{name}_{what}"][todo[there]] = values[there]
        again = visible(Facts(**new).part(todo), holes[todo])
        fits = (new["host_x"][todo] - SIZE / 2) * (new["satellite_x"][todo] - SIZE / 2) < 0
        for count, absent in zip(again, hidden.values(), strict=True):
            fits &= (count < SEEN) | ~absent[todo]
        todo = todo[~fits]
    marks = told(facts.satellite, len(world.MARKS), draw)
    host_hue = hue(told(facts.host, world.HUES, draw), world.HUES, draw)
    new["host_hue"] = np.where(hidden["host"], host_hue, facts.host_hue)
    new["marks"] = np.where(hidden["host"], marks, facts.marks)
    contrast = world.contrast_of(marks, draw.random(n))
    new["marks_contrast"] = np.where(hidden["host"], contrast, facts.marks_contrast)
    new["satellite_hue"] = np.where(hidden["satellite"], hue(facts.host, len(HOSTS), draw), facts.satellite_hue)
    other, bits = Facts(**new), [fresh(n, draw) for _ in range(3)]
    made = in_parts(n, lambda p: world.draw(Split.EVAL, index[p], other.part(p), Bits(*(one[p] for one in bits))))
    return np.where(holes[..., None], made, images)


# JPEG.

_COSINES = np.array(
    [
        [math.sqrt((1 if u == 0 else 2) / 8) * math.cos((2 * x + 1) * u * math.pi / 16) for x in range(8)]
        for u in range(8)
    ]
)


def transformed(plane: Floats) -> Floats:
    """[n, h, w] to its blocks' coefficients [n, h / 8, w / 8, 8, 8]."""
    n, height, width = plane.shape
    blocks = plane.reshape(n, height // 8, 8, width // 8, 8).transpose(0, 1, 3, 2, 4)
    coefficients: Floats = _COSINES @ blocks @ _COSINES.T
    return coefficients


def untransformed(coefficients: Floats) -> Floats:
    blocks = _COSINES.T @ coefficients @ _COSINES
    n, rows, columns = blocks.shape[:3]
    plane: Floats = blocks.transpose(0, 1, 3, 2, 4).reshape(n, rows * 8, columns * 8)
    return plane


def tables(quality: int) -> list[Floats]:
    """The quantisation of luma and chroma, each [8, 8]."""
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        return [np.array(image.quantization[k], dtype=np.float64).reshape(8, 8) for k in (0, 1)]  # type: ignore[attr-defined]


def cells(plane: Floats, table: Floats) -> tuple[Floats, Floats]:
    """Between which coefficients the file says that the plane's are."""
    level = np.rint(transformed(plane) / table)
    return (level - 0.5) * table, (level + 0.5) * table


def halved(plane: Floats) -> Floats:
    half: Floats = plane.reshape(len(plane), SIZE // 2, 2, SIZE // 2, 2).mean(axis=(2, 4))
    return half


def decoded(images: Images, quality: int) -> Images:
    return np.stack([decode_jpeg(encode_jpeg(image, quality)) for image in images])


class JpegSampler:
    """Draws scenes that the file could be of."""

    def __init__(self, images: Images, facts: Facts, quality: int, classes: Floats, draw: np.random.Generator) -> None:
        self.n, self.facts, self.classes, self.random = len(images), facts, classes, draw
        table = tables(quality)
        wide = images.astype(float)
        y = luma(wide)
        chroma = [(wide[..., 2] - y) / 1.772, (wide[..., 0] - y) / 1.402]
        self.low, self.high = cells(y - 128, table[0])
        self.chroma_cells = [cells(halved(plane), table[1]) for plane in chroma]
        # The luma of noise whose share of 0.8 is common to the channels.
        share = math.sqrt(0.64 + 0.36 * (0.299**2 + 0.587**2 + 0.114**2))
        self.deviation = np.maximum(share * facts.noise * 255, 1.0)[:, None, None, None, None]

    def likelihood(self, y: Floats, scenes: NDArray[np.int64]) -> Floats:
        """The log-probability [n] that noise brings clean luma into the file's cells."""
        mean, deviation = transformed(y - 128), self.deviation[scenes]
        above = np.clip((self.high[scenes] - mean) / deviation, -30, 30)
        below = np.clip((self.low[scenes] - mean) / deviation, -30, 30)
        mass = ndtr(above) - ndtr(below)
        far = -0.5 * np.minimum(above * above, below * below) - 3.0
        total: Floats = np.where(mass < 1e-12, far, np.log(np.maximum(mass, 1e-300))).sum(axis=(1, 2, 3, 4))
        return total

    def draw(self) -> Images:
        n, facts, random = self.n, self.facts, self.random
        index = np.arange(n)
        label = (random.random((n, 1)) > np.cumsum(self.classes, axis=1)).sum(axis=1).clip(max=len(world.CLASSES) - 1)
        family, marks = label // len(world.MARKS), label % len(world.MARKS)
        ends = family[:, None] / world.HUES * math.pi + np.array([0.0, math.pi])
        nearest = ends[index, np.cos(ends - facts.host_hue[:, None]).argmax(axis=1)]
        guessed = nearest + random.uniform(-world.HUE_SPREAD, world.HUE_SPREAD, n)
        contrast = np.where(marks == facts.marks, facts.marks_contrast, world.contrast_of(marks, random.random(n)))
        flat_facts = replace(
            facts,
            host_hue=np.where(family == facts.hue_family, facts.host_hue, guessed),
            marks=marks,
            marks_contrast=contrast * 0.0,
            noise=facts.noise * 0.0,
        )
        flat = in_parts(n, lambda p: world.draw(Split.EVAL, index[p], flat_facts.part(p))).astype(float)
        host, satellite = world.coverage(facts)
        base = luma(flat)
        along = (marks & 1) == 1

        def turned(plane: Floats, scenes: NDArray[np.int64]) -> Floats:
            return np.where(along[scenes][:, None, None], plane.swapaxes(1, 2), plane)

        # Luma is linear in the dashes; rows are columns where they run along.
        power = turned(host * (1 - satellite) * base * contrast[:, None, None], index)
        word = world.words(Split.EVAL, index, 3, blocks=8).astype(np.int64)
        same = (along == ((facts.marks & 1) == 1))[:, None]
        offset = np.where(same, (word >> 16) & 3, random.integers(0, 4, (n, SIZE)))
        cell = (np.arange(SIZE) + offset[:, :, None]) >> 2
        bits = random.integers(0, 2, (n, SIZE, 9)) * 2.0 - 1.0
        y = base + turned(power * np.take_along_axis(bits, cell, axis=2), index)
        now = self.likelihood(y, index)
        for _ in range(SWEEPS):
            for row in range(SIZE):
                for dash in range(9):
                    at = cell[:, row] == dash
                    scenes = np.flatnonzero((power[:, row] * at).sum(axis=1) > 1.0)
                    if not len(scenes):
                        continue
                    change = np.zeros((len(scenes), SIZE, SIZE))
                    flip = -2.0 * bits[scenes, row, dash]
                    change[:, row] = flip[:, None] * at[scenes] * power[scenes, row]
                    proposed = y[scenes] + turned(change, scenes)
                    then = self.likelihood(proposed, scenes)
                    taken = np.log(random.random(len(scenes))) < then - now[scenes]
                    moved = scenes[taken]
                    y[moved], now[moved] = proposed[taken], then[taken]
                    bits[moved, row, dash] *= -1.0
        return self._with_noise(y, flat)

    def _with_noise(self, y: Floats, flat: Floats) -> Images:
        """Sensor noise that leads into the file's cells."""
        mean, random = transformed(y - 128), self.random
        below, above = (ndtr((end - mean) / self.deviation) for end in (self.low, self.high))
        places = np.clip(below + random.random(mean.shape) * (above - below), 1e-9, 1 - 1e-9)
        bright = untransformed(np.clip(mean + self.deviation * ndtri(places), self.low, self.high)) + 128
        grey = luma(flat)
        planes = []
        noise = 0.6 * 255 * self.facts.noise[:, None, None]
        for plane, (low, high), share in (
            ((flat[..., 2] - grey) / 1.772, self.chroma_cells[0], 0.55),
            ((flat[..., 0] - grey) / 1.402, self.chroma_cells[1], 0.6),
        ):
            noisy = plane + noise * share * random.standard_normal(plane.shape)
            coarse = halved(noisy)
            fixed = untransformed(np.clip(transformed(coarse), low, high))
            planes.append(noisy + (fixed - coarse).repeat(2, axis=1).repeat(2, axis=2))
        blue, red = planes
        return to_uint8(
            np.stack([bright + 1.402 * red, bright - 0.344136 * blue - 0.714136 * red, bright + 1.772 * blue], axis=-1)
        )


def posterior_network(path: Path | None) -> Judge:
    """A network that names the class of decoded scenes, trained, or read from a file that an earlier run wrote."""
    torch.manual_seed(1)
    network = Judge().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    if path is not None and path.is_file():
        network.load_state_dict(safetensors.torch.load_file(path))
        return network.eval()
    steps = POSTERIOR_SCENES // 64
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        drawn, labels = world.render(Split.TRAIN, (1 << 33) + step * 64 + np.arange(64))
        _, logits = network(to_input(decoded(drawn, QUALITIES[step % len(QUALITIES)])))
        optimiser.zero_grad()
        torch.autograd.backward(functional.cross_entropy(logits, torch.from_numpy(labels)))
        optimiser.step()
        schedule.step()
    if path is not None:
        save(network, path)
    return network.eval()


def class_posteriors(network: Judge, images: Images, qualities: Sequence[int]) -> Mapping[int, Floats]:
    """What the network says of the class, calibrated, [n, 20] for each quality."""
    others, labels = world.render(Split.TRAIN, (1 << 34) + np.arange(2000))
    found = {}
    for quality in qualities:
        logits = torch.from_numpy(outputs(network, decoded(others, quality))["logits"])
        target = torch.from_numpy(labels)
        losses = {t: float(functional.cross_entropy(logits / t, target)) for t in np.arange(0.6, 2.0, 0.05).tolist()}
        temperature = min(losses, key=lambda t: losses[t])
        own = torch.from_numpy(outputs(network, decoded(images, quality))["logits"])
        found[quality] = torch.softmax(own / temperature, dim=1).numpy().astype(np.float64)
    return found


def freeform(low: float, high: float, count: int) -> NDArray[np.bool_]:
    draw, brush, holes = np.random.default_rng(11), FreeformBrush(), list[NDArray[np.bool_]]()
    while len(holes) < count:
        hole = freeform_mask(draw.integers(0, 1 << 32, words_per_candidate(brush), dtype=np.uint32), SIZE, brush)
        if low < hole.mean() <= high:
            holes.append(hole)
    return np.stack(holes)


def classical(name: str, task_name: str, images: Images, holes: NDArray[np.bool_] | None) -> Images | None:
    """What a classical baseline makes of the conditions; None where it is not for the task."""
    card, task = find_card(f"classical-{name}"), TASKS[task_name]
    if task_name not in card.tasks:
        return None
    module, kind = card.adapter.entry.split(":")
    weights = card.checked_weights() if card.weights else None
    adapter = getattr(importlib.import_module(module), kind)(
        Setting(task=task, size=SIZE, config=dict(card.config), weights=weights)
    )
    made = []
    for number, image in enumerate(images):
        condition = make_condition(task, image, None if holes is None else holes[number])
        given = given_of(str(number), condition, seed_of(0, str(number), 0))
        made.append(composited(adapter.predict([given])[0], condition.image, condition.hole)[0])
    return np.stack(made)


class Table:
    """Prints a row for each set of images."""

    def __init__(self, judge: Judge, images: Images, labels: NDArray[np.int64]) -> None:
        self.judge, self.images, self.labels = judge, images, labels
        self.references = moments(outputs(judge, world.render_split(Split.REFERENCE)[0])["features"])
        self.own = outputs(judge, images)["features"]
        print("| task | prediction | CA % | IS | PD | FID | PSNR |\n|---|---|---:|---:|---:|---:|---:|")

    def row(self, task: str, name: str, made: Images) -> None:
        n, found = len(made), outputs(self.judge, made)
        error = ((made.astype(float) - self.images[:n]) ** 2).mean(axis=(1, 2, 3))
        psnr = f"{(10 * np.log10(255.0**2 / error[error > 0])).mean():.1f}" if error.any() else "-"
        percent = accuracy(found["logits"], self.labels[:n]).percent
        distance = perceptual_distance(found["features"], self.own[:n], power=Power.L2).mean
        score, fid = inception_score(found["logits"]).value, frechet_distance(found["features"], self.references).value
        print(f"| {task} | {name} | {percent:.1f} | {score:.2f} | {distance:.2f} | {fid:.2f} | {psnr} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", type=Path, default=Path(__file__).with_name("judge.safetensors"))
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--jpeg-scenes", type=int, default=200)
    parser.add_argument("--samples", type=int, default=12, help="of which the mean is taken")
    parser.add_argument("--tasks", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--posterior", type=Path, help="keep the network that reads decoded scenes in this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    judge = Judge().to(memory_format=torch.channels_last)
    judge.load_state_dict(safetensors.torch.load_file(options.judge))
    every = np.arange(options.scenes)
    images, labels = world.render(Split.EVAL, every)
    facts = world.describe(Split.EVAL, every)
    table = Table(judge.eval(), images, labels)
    table.row("-", "the scene itself", images)
    qualities = [int(name.removeprefix("jpeg-qf")) for name in options.tasks if name.startswith("jpeg")]
    few = images[: options.jpeg_scenes]
    posteriors = class_posteriors(posterior_network(options.posterior), few, qualities) if qualities else {}
    for name in options.tasks:
        random, shown, holes = np.random.default_rng(5), images, None
        draw: Callable[[], Images]
        if name == "colorize":
            draw = lambda random=random: coloured(images, facts, random)  # type: ignore[misc]  # noqa: E731
        elif name.startswith("jpeg"):
            quality, shown = int(name.removeprefix("jpeg-qf")), few
            draw = JpegSampler(few, facts.part(every[: len(few)]), quality, posteriors[quality], random).draw
        else:
            if "freeform" in name:
                low, high = (int(part) / 100 for part in name.split("-")[-2:])
                holes = freeform(low, high, options.scenes)
            else:
                fixed = hole_of(TASKS[name], SIZE, None)
                assert fixed is not None
                holes = np.broadcast_to(fixed, (options.scenes, SIZE, SIZE))
            draw = lambda holes=holes, random=random: filled(images, facts, holes, random)  # type: ignore[misc]  # noqa: E731
        first = draw()
        total = first.astype(float)
        for _ in range(options.samples - 1):
            total += draw()
        table.row(name, "a sample of the posterior", first)
        table.row(name, f"the mean of {options.samples}", to_uint8(total / options.samples))
        if name == "colorize":
            table.row(name, "grey", np.repeat(to_uint8(luma(images.astype(float)))[..., None], 3, axis=3))
        if name.startswith("jpeg"):
            table.row(name, "decoded", decoded(few, quality))
        kind = "hole" if holes is not None else name.split("-")[0]
        for method in CLASSICAL[kind]:
            made = classical(method, name, shown, holes)
            if made is not None:
                table.row(name, method, made)


if __name__ == "__main__":
    main()
