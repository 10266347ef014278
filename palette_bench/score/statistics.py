"""Feature statistics of FID reference sets: computed once, kept with their digests, checked when read."""

import io
import json
import math
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.canonical import (
    bytes_digest,
    canonical_json,
    file_digest,
    fingerprint,
    pixel_digest,
)
from palette_bench.common.errors import InputError, Problem, UsageError, VerificationError
from palette_bench.common.files import exclusive, write_bytes
from palette_bench.common.home import statistics_folder
from palette_bench.common.listing import Source, list_files
from palette_bench.common.parts import Part
from palette_bench.common.progress import Progress, Silent
from palette_bench.images import canary
from palette_bench.images.decode import BadImageError, decode
from palette_bench.images.geometry import GEOMETRIES
from palette_bench.images.types import ImageU8
from palette_bench.prepare.plan import open_labelled
from palette_bench.prepare.selection.select import select_reference
from palette_bench.prepare.sources.datasets import open_folder
from palette_bench.prepare.sources.scene_source import SceneSource, open_scenes
from palette_bench.protocol.definition import Family, Protocol
from palette_bench.score.backbones.base import Backbone
from palette_bench.score.features import FeatureStore, KeptRows, PixelItem, extract
from palette_bench.score.metrics.frechet import Moments, moments
from palette_bench.score.ranks import PART_CHUNK
from palette_bench.score.recipes.base import ReferenceStatistics
from palette_bench.score.recipes.fid import FEWEST_IMAGES

BLOCK = 512
IMPORTED = "imported-"
"""Begins the name of a reference set that is known by its statistics alone."""

OWN_FOLDER = "own-folder"
MAGIC = b"palette-bench statistics 2\n"


def reference_name(eval_set: EvalSet, wanted: str | None) -> str:
    """The FID reference to use: the wanted one, or the set's default. Raises UsageError for an unknown name."""
    if eval_set.family is Family.FOLDER:
        known = [OWN_FOLDER]
        default: str | None = OWN_FOLDER
    else:
        known = list(eval_set.protocol.references)
        default = eval_set.protocol.default_reference
    name = wanted or default
    if name is not None and name.startswith(IMPORTED) and list(statistics_folder().glob(f"{name}-*")):
        return name
    if name is None or name not in known:
        raise UsageError(
            f"set {eval_set.set_id} has no FID reference of this name",
            expected=f"one of {', '.join([*known, 'eval-set'])}",
            found=name,
        )
    return name


def _path(eval_set: EvalSet, reference: str, backbone_fingerprint: str, output: str) -> Path:
    key = fingerprint([eval_set.set_id, reference, backbone_fingerprint, output])[:16]
    if reference.startswith(IMPORTED):
        key = fingerprint([reference, backbone_fingerprint, output])[:16]
    elif eval_set.family is not Family.FOLDER:
        key = fingerprint([eval_set.protocol.reference_fingerprint(reference), backbone_fingerprint, output])[:16]
    return statistics_folder() / f"{reference}-{key}.statistics"


def load(eval_set: EvalSet, reference: str, backbone_fingerprint: str, output: str) -> ReferenceStatistics | None:
    """The kept statistics of a reference set, or None. Raises VerificationError when the file is damaged."""
    path = _path(eval_set, reference, backbone_fingerprint, output)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError("statistics cannot be read", where=path, found=error.strerror or error) from error
    try:
        head, _, body = data.removeprefix(MAGIC).partition(b"\n")
        described = json.loads(head)
        claimed = described.pop("sha256")
        if not data.startswith(MAGIC) or claimed != bytes_digest(canonical_json(described) + body):
            raise ValueError("the digest does not fit")
        if described["backbone_fingerprint"] != backbone_fingerprint or described["output"] != output:
            raise ValueError("the statistics are of another network")
        width, count = int(described["width"]), int(described["count"])
        numbers = np.frombuffer(body, dtype="<f8")
        kept = Moments(numbers[:width].copy(), numbers[width:].reshape(width, width).copy(), count)
        of_reference, of_data = str(described["reference_fingerprint"]), str(described["data_digest"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise VerificationError(
            "statistics are damaged",
            where=path,
            expected="a file as palette-bench statistics writes it",
            found=error,
            next_step=f"remove the file and run: palette-bench statistics {eval_set.set_id} --source ...",
        ) from error
    return ReferenceStatistics(
        reference=reference,
        reference_fingerprint=of_reference,
        data_digest=of_data,
        backbone_fingerprint=backbone_fingerprint,
        output=output,
        moments=kept,
    )


def _save(eval_set: EvalSet, statistics: ReferenceStatistics) -> Path:
    buffer = io.BytesIO()
    buffer.write(np.ascontiguousarray(statistics.moments.mean, dtype="<f8").tobytes())
    buffer.write(np.ascontiguousarray(statistics.moments.covariance, dtype="<f8").tobytes())
    body = buffer.getvalue()
    head = {
        "reference": statistics.reference,
        "reference_fingerprint": statistics.reference_fingerprint,
        "data_digest": statistics.data_digest,
        "backbone_fingerprint": statistics.backbone_fingerprint,
        "output": statistics.output,
        "width": len(statistics.moments.mean),
        "count": statistics.moments.count,
        "software": canary.software(),
    }
    head["sha256"] = bytes_digest(canonical_json(head) + body)
    path = _path(eval_set, statistics.reference, statistics.backbone_fingerprint, statistics.output)
    write_bytes(path, MAGIC + canonical_json(head) + b"\n" + body)
    return path


def compute(
    eval_set: EvalSet,
    reference: str,
    backbone: Backbone,
    output: str,
    *,
    source: Path | None,
    labels: Path | None,
    store: FeatureStore,
    progress: Progress,
    batch_size: int | None = None,
    workers: int = 1,
) -> tuple[ReferenceStatistics, Path]:
    """Compute and keep the statistics of a reference set.

    Features of images that the store holds are not computed again, so an interrupted run continues. Raises InputError
    with every bad image of the source.
    """
    protocol = eval_set.protocol
    images, names = _open(protocol, reference, source, labels)
    lock = statistics_folder() / ".locks" / f"{eval_set.set_id}-{reference}-{backbone.name}.lock"
    # What the other one computes is not computed again.
    with exclusive(lock, purpose=f"computing statistics of {reference}", seconds=math.inf, note=progress.note):
        digests, features = _extracted(
            images, names, protocol, backbone, output, store, batch_size=batch_size, workers=workers, progress=progress
        )
        data_digest = fingerprint(digests)
        own = reference == OWN_FOLDER
        statistics = ReferenceStatistics(
            reference=reference,
            reference_fingerprint=data_digest if own else protocol.reference_fingerprint(reference),
            data_digest=data_digest,
            backbone_fingerprint=backbone.fingerprint,
            output=output,
            moments=moments(features),
        )
        return statistics, _save(eval_set, statistics)


def compute_part(
    eval_set: EvalSet,
    reference: str,
    backbone: Backbone,
    output: str,
    part: Part,
    *,
    source: Path | None,
    labels: Path | None,
    store: FeatureStore,
    progress: Progress,
    batch_size: int | None = None,
    workers: int = 1,
) -> int:
    """Put the features of a part of a reference set into ``store``; how many images that are."""
    protocol = eval_set.protocol
    images, names = _open(protocol, reference, source, labels)
    mine = part.of(names, together=PART_CHUNK)
    _extracted(
        images, mine, protocol, backbone, output, store, batch_size=batch_size, workers=workers, progress=progress
    )
    return len(mine)


def import_moments(eval_set: EvalSet, path: Path, backbone: Backbone, output: str, *, count: int) -> tuple[str, Path]:
    """Keep the ``mu`` [D] and ``sigma`` [D, D] of an .npz, as pytorch-fid and guided-diffusion write them.

    ``count`` is how many images they are said to be of. The reference set is named by the file's digest: what images
    it was, and how they were prepared, only whoever made it knows. Returns the name and the file written. Raises
    InputError for anything that is not the moments of this network's features.
    """
    width = backbone.outputs[output]
    # A damaged file may raise anything.
    try:
        with np.load(path, allow_pickle=False) as archive:
            mean, covariance = (np.asarray(archive[key], dtype=np.float64) for key in ("mu", "sigma"))
    except Exception as error:
        raise _no_moments(path, width, f"{type(error).__name__}: {error}") from error
    if mean.shape != (width,) or covariance.shape != (width, width):
        raise _no_moments(path, width, f"mu {list(mean.shape)}, sigma {list(covariance.shape)}")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise _no_moments(path, width, "numbers that are not finite")
    asymmetry = float(np.abs(covariance - covariance.T).max())
    if asymmetry > 1e-6 * float(np.abs(covariance).max()) or float(np.diagonal(covariance).min()) < 0:
        raise _no_moments(path, width, "a sigma that is no covariance")
    if count < FEWEST_IMAGES:
        raise UsageError("a reference set of FID needs at least two images", expected=">= 2", found=count)
    digest = file_digest(path)
    statistics = ReferenceStatistics(
        reference=f"{IMPORTED}{digest[:12]}",
        reference_fingerprint=fingerprint(["imported moments", digest]),
        data_digest=digest,
        backbone_fingerprint=backbone.fingerprint,
        output=output,
        moments=Moments(mean, (covariance + covariance.T) / 2, count),
    )
    return statistics.reference, _save(eval_set, statistics)


def _no_moments(path: Path, width: int, found: str) -> InputError:
    return InputError(
        "these are no feature statistics of this network",
        where=path,
        expected=f"an .npz with mu [{width}] and sigma [{width}, {width}]",
        found=found,
        next_step="give the file that pytorch-fid --save-stats or guided-diffusion's reference batches hold; --recipe "
        "says which network it is of",
    )


def _open(protocol: Protocol, reference: str, source: Path | None, labels: Path | None) -> tuple[Source, list[str]]:
    canary.check(protocol.geometry)
    images, names = _images(protocol, reference, source, labels)
    if len(names) < FEWEST_IMAGES:
        raise InputError(
            "a reference set of FID needs at least two images",
            where=images.where,
            expected=f">= {FEWEST_IMAGES}",
            found=len(names),
            next_step="check --source",
        )
    return images, names


def _extracted(
    images: Source,
    names: Sequence[str],
    protocol: Protocol,
    backbone: Backbone,
    output: str,
    store: FeatureStore,
    *,
    batch_size: int | None,
    workers: int,
    progress: Progress,
) -> tuple[list[str], NDArray[np.float32]]:
    """Digests and features of images, in order, the next block loaded while one goes through the network."""
    depends = [protocol.geometry.value, protocol.size, protocol.exif.value, canary.software()]
    rows = KeptRows(store.folder / f"reference-images-{fingerprint(depends)}")
    known = rows.load(progress)
    parts: list[NDArray[np.float32]] = []
    digests: list[str] = []
    problems: list[Problem] = []
    with progress.task(f"features of {backbone.name}", len(names), "images") as shown:
        for block in _blocks(images, names, protocol, known):
            problems += block.problems
            if not problems:
                outputs = extract(
                    block.items, [backbone], store, batch_size=batch_size, workers=workers, progress=Silent()
                )
                rows.add(block.fresh, progress)
                parts.append(outputs[backbone.name][output])
                digests += [item.digest for item in block.items]
            shown.advance(len(block.items) + len(block.problems))
    if problems:
        raise InputError(
            f"{len(problems)} of {len(names)} images of the reference set cannot be used",
            where=images.where,
            problems=problems,
            next_step="repair or replace them and run the same command again: finished work is kept",
        )
    width = backbone.outputs[output]
    return digests, np.concatenate(parts) if parts else np.empty((0, width), np.float32)


@dataclass(frozen=True, slots=True)
class _Block:
    """Loaded images, those whose file was not known by its digest, and faults."""

    items: list[PixelItem]
    fresh: dict[str, dict[str, object]]
    problems: list[Problem]


def _blocks(
    source: Source, names: Sequence[str], protocol: Protocol, known: Mapping[str, Mapping[str, object]]
) -> Generator[_Block]:
    """Blocks of `BLOCK` images in order, one loaded ahead."""
    starts = range(0, len(names), BLOCK)
    with ThreadPoolExecutor(1, thread_name_prefix="load") as pool:
        ahead: Future[_Block] | None = None
        for start in starts:
            current = ahead or pool.submit(_block, source, names[start : start + BLOCK], protocol, known)
            following = names[start + BLOCK : start + 2 * BLOCK]
            block = current.result()
            ahead = pool.submit(_block, source, following, protocol, known) if following else None
            yield block


def _images(protocol: Protocol, reference: str, source: Path | None, labels: Path | None) -> tuple[Source, list[str]]:
    if protocol.family is Family.SCENES32:
        labelled = open_scenes(protocol.references[reference].split or "reference")
        return labelled.source, list(labelled.source.names())
    if protocol.family is Family.FOLDER:
        if source is None:
            raise UsageError("statistics are computed from images", expected="--source DIR", found="no --source")
        labelled = open_folder(list_files(source))
        return labelled.source, sorted(labelled.source.names())
    labelled = open_labelled(protocol, source, labels)
    if labelled.images != protocol.images:
        raise InputError(
            "the source holds another release of the images than the set was made from",
            where=labelled.source.where,
            expected=protocol.images,
            found=labelled.images,
        )
    return labelled.source, select_reference(protocol, reference, labelled)


def _block(
    source: Source, names: Sequence[str], protocol: Protocol, known: Mapping[str, Mapping[str, object]]
) -> _Block:
    block = _Block([], {}, [])
    if isinstance(source, SceneSource):
        block.items.extend(PixelItem(pixel_digest(image), _Held(image)) for image in source.render(names))
        return block
    for name in names:
        try:
            data = source.read(name)
            key = bytes_digest(data)
            if (row := known.get(key)) is not None:
                block.items.append(PixelItem(str(row["pixels"]), _Decoded(source, name, protocol)))
                continue
            image = _prepared(data, protocol)
        except BadImageError as error:
            block.problems.append(Problem("bad-image", name, str(error)))
        except OSError as error:
            block.problems.append(Problem("bad-image", name, error.strerror or str(error)))
        else:
            digest = pixel_digest(image)
            block.items.append(PixelItem(digest, _Held(image)))
            block.fresh[key] = {"pixels": digest}
    return block


def _prepared(data: bytes, protocol: Protocol) -> ImageU8:
    return GEOMETRIES[protocol.geometry](decode(data, exif=protocol.exif).pixels, protocol.size)


@dataclass(frozen=True, slots=True)
class _Held:
    """An image that is in memory already."""

    image: ImageU8

    def __call__(self) -> ImageU8:
        return self.image


@dataclass(frozen=True, slots=True)
class _Decoded:
    """An image of the source, decoded when it is wanted."""

    source: Source
    name: str
    protocol: Protocol

    def __call__(self) -> ImageU8:
        return _prepared(self.source.read(self.name), self.protocol)
