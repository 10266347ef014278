"""Feature statistics of FID reference sets: computed once, kept with their digests, checked when read."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palette_bench.common.canonical import bytes_digest, canonical_json, fingerprint, pixel_digest
from palette_bench.common.errors import InputError, Problem, UsageError, VerificationError
from palette_bench.common.files import exclusive, write_bytes
from palette_bench.common.home import statistics_folder
from palette_bench.common.progress import Progress, Silent
from palette_bench.prepare import canary
from palette_bench.prepare.decode import BadImageError, decode
from palette_bench.prepare.degrade.geometry import GEOMETRIES
from palette_bench.prepare.frozen import FrozenSet
from palette_bench.prepare.images import ImageU8
from palette_bench.prepare.plan import open_labelled
from palette_bench.prepare.selection.select import select_reference
from palette_bench.prepare.sources.base import Source, list_files
from palette_bench.prepare.sources.datasets import open_folder
from palette_bench.prepare.sources.scene_source import SceneSource, open_scenes
from palette_bench.protocol.definition import Family, Protocol
from palette_bench.score.backbones.base import Backbone
from palette_bench.score.features import FeatureStore, PixelItem, extract
from palette_bench.score.metrics.frechet import Moments, moments

BLOCK = 512
OWN_FOLDER = "own-folder"
MAGIC = b"palette-bench statistics 2\n"
FEWEST_IMAGES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceStatistics:
    """Moments of a reference set's features under one backbone, and what they are of."""

    reference: str
    reference_fingerprint: str
    data_digest: str
    backbone_fingerprint: str
    output: str
    moments: Moments


def reference_name(opened: FrozenSet, wanted: str | None) -> str:
    """The FID reference to use: the wanted one, or the set's default. Raises UsageError for an unknown name."""
    if opened.family is Family.FOLDER:
        known = [OWN_FOLDER]
        default: str | None = OWN_FOLDER
    else:
        known = list(opened.protocol.references)
        default = opened.protocol.default_reference
    name = wanted or default
    if name is None or name not in known:
        raise UsageError(
            f"set {opened.set_id} has no FID reference of this name",
            expected=f"one of {', '.join([*known, 'eval-set'])}",
            found=name,
        )
    return name


def _path(opened: FrozenSet, reference: str, backbone_fingerprint: str, output: str) -> Path:
    key = fingerprint([opened.set_id, reference, backbone_fingerprint, output])[:16]
    if opened.family is not Family.FOLDER:
        key = fingerprint([opened.protocol.reference_fingerprint(reference), backbone_fingerprint, output])[:16]
    return statistics_folder() / f"{reference}-{key}.statistics"


def load(opened: FrozenSet, reference: str, backbone_fingerprint: str, output: str) -> ReferenceStatistics | None:
    """The kept statistics of a reference set, or None. Raises VerificationError when the file is damaged."""
    path = _path(opened, reference, backbone_fingerprint, output)
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
            next_step=f"remove the file and run: palette-bench statistics {opened.set_id} --source ...",
        ) from error
    return ReferenceStatistics(
        reference=reference,
        reference_fingerprint=of_reference,
        data_digest=of_data,
        backbone_fingerprint=backbone_fingerprint,
        output=output,
        moments=kept,
    )


def _save(opened: FrozenSet, statistics: ReferenceStatistics) -> Path:
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
    path = _path(opened, statistics.reference, statistics.backbone_fingerprint, statistics.output)
    write_bytes(path, MAGIC + canonical_json(head) + b"\n" + body)
    return path


def compute(
    opened: FrozenSet,
    reference: str,
    backbone: Backbone,
    output: str,
    *,
    source: Path | None,
    labels: Path | None,
    store: FeatureStore,
    progress: Progress,
    batch_size: int | None = None,
) -> tuple[ReferenceStatistics, Path | None]:
    """Compute and keep the statistics of a reference set.

    Features of images that the store holds are not computed again, so an interrupted run continues. Raises InputError
    with every bad image of the source.
    """
    protocol = opened.protocol
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
    lock = statistics_folder() / ".locks" / f"{opened.set_id}-{reference}.lock"
    with exclusive(lock, purpose=f"computing statistics of {reference}"):
        parts = []
        digests: list[str] = []
        problems: list[Problem] = []
        with progress.task(f"statistics of {reference}", len(names), "images") as shown:
            for start in range(0, len(names), BLOCK):
                block = names[start : start + BLOCK]
                items, bad = _block(images, block, protocol)
                problems += bad
                if not problems:
                    outputs = extract(items, [backbone], store, batch_size=batch_size, progress=Silent())
                    parts.append(outputs[backbone.name][output])
                    digests += [item.digest for item in items]
                shown.advance(len(block))
        if problems:
            raise InputError(
                f"{len(problems)} of {len(names)} images of the reference set cannot be used",
                where=images.where,
                problems=problems,
                next_step="repair or replace them and run the same command again: finished work is kept",
            )
        features = np.concatenate(parts)
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
        return statistics, _save(opened, statistics)


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


def _block(source: Source, names: Sequence[str], protocol: Protocol) -> tuple[list[PixelItem], list[Problem]]:
    items: list[PixelItem] = []
    problems: list[Problem] = []
    for name, loaded in zip(names, _load(source, names, protocol), strict=True):
        if isinstance(loaded, str):
            problems.append(Problem("bad-image", name, loaded))
        else:
            items.append(PixelItem(pixel_digest(loaded), _Held(loaded)))
    return items, problems


@dataclass(frozen=True, slots=True)
class _Held:
    """An image that is in memory already."""

    image: ImageU8

    def __call__(self) -> ImageU8:
        return self.image


def _load(source: Source, names: Sequence[str], protocol: Protocol) -> Iterator[ImageU8 | str]:
    if isinstance(source, SceneSource):
        yield from source.render(names)
        return
    for name in names:
        try:
            decoded = decode(source.read(name), exif=protocol.exif)
            yield GEOMETRIES[protocol.geometry](decoded.pixels, protocol.size)
        except BadImageError as error:
            yield str(error)
        except OSError as error:
            yield error.strerror or str(error)
