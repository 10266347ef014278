"""The truth stays on the server: nothing a rater's browser receives besides the pixels tells which image is real."""

import json
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from palette_bench.study.check import auc
from palette_bench.study.design import Kind
from palette_bench.study.rater import Reply
from palette_bench.study.stimuli import encode_png
from tests.study.conftest import Serve
from tests.study.served import Served, real_side
from tests.study.worlds import Blobs, small_study


def features(name: str, reply: Reply, place: int) -> dict[str, float]:
    """Numbers of everything about an image but its pixels."""
    head = reply.body[: 8 + 25]
    chunks = []
    at = 8
    while at < len(reply.body):
        (length,) = struct.unpack(">I", reply.body[at : at + 4])
        chunks.append((reply.body[at + 4 : at + 8], length))
        at += 12 + length
    return {
        "bytes": len(reply.body),
        "chunks": len(chunks),
        "order": place,
        "header count": len(reply.headers),
        "header bytes": len(json.dumps(dict(sorted(reply.headers.items())))),
        "first letter": ord(name[0]),
        "name length": len(name),
        "name sum": sum(map(ord, name)) % 251,
        "head": sum(head),
        "data": sum(length for kind, length in chunks if kind == b"IDAT"),
    }


def split_auc(values: np.ndarray, truth: np.ndarray) -> float:
    """The AUC on one half of a rule learnt on the other: above one half only where there is something to learn."""
    half = np.arange(len(values)) % 2 == 0
    sign = 1.0 if auc(values[half & ~truth].tolist(), values[half & truth].tolist()) >= 0.5 else -1.0
    return auc((sign * values[~half & ~truth]).tolist(), (sign * values[~half & truth]).tolist())


def collect(served: Served, raters: Iterable[int]) -> tuple[dict[str, list[float]], list[bool]]:
    found: dict[str, list[float]] = {}
    truth = []
    for number in raters:
        rater = served.rater(number)
        step = rater.next()
        while "trial" in step:
            trial = served.trial(rater, step)
            for place, side in enumerate(("left", "right")):
                name = step["images"][side]
                reply = rater.image(name)
                described = features(name, reply, place)
                if trial.kind in (Kind.MAIN, Kind.CATCH):
                    truth.append(side == real_side(trial))
                    for key, value in described.items():
                        found.setdefault(key, []).append(value)
                    found.setdefault("seconds", []).append(reply.seconds)
                    found.setdefault("step bytes", []).append(len(json.dumps(step)))
            step = rater.answer(step["trial"], real_side(trial), shown_ms=100.0, response_ms=700.0).json["next"]
    return found, truth


def test_no_feature_beside_the_pixels_tells_real_from_generated(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path, items=30, raters=4, practice=0, catch=2))
    found, truth = collect(served, range(1, 9))
    real = np.array(truth)
    assert len(real) == 8 * 32 * 2
    for name in ("bytes", "chunks", "header count", "header bytes", "name length", "data"):
        assert len(set(found[name])) == 1, f"{name} is the same for every image"
    # The Monte Carlo error of an AUC of 128 against 128 is 0.036.
    scores = {name: split_auc(np.array(values), real) for name, values in found.items()}
    assert all(abs(score - 0.5) < 0.13 for score in scores.values()), scores


def test_the_measure_finds_a_leak_where_there_is_one() -> None:
    """The negative twin: a compressed PNG's size gives the output away."""
    from palette_bench.study.check import byte_size
    from tests.study.test_check import as_jpeg, soft

    sizes = [byte_size(image) for n in range(40) for image in (soft(n), as_jpeg(soft(n)))]
    truth = np.arange(80) % 2 == 0
    order = np.random.default_rng(0).permutation(80)
    assert split_auc(np.array(sizes)[order], truth[order]) > 0.9


def test_the_page_and_its_steps_name_no_model_item_or_side(tmp_path: Path, serve: Serve) -> None:
    study = small_study(tmp_path)
    served = serve(tmp_path, study)
    rater = served.rater()
    told = rater.ask("GET", rater.session).body.decode()
    for name in ("app.js", "exposure.js", "answers.js", "pointer.js", "server.js", "study.css"):
        told += rater.ask("GET", f"/assets/{name}").body.decode()
    step = rater.next()
    while "trial" in step:
        told += json.dumps(step)
        trial = served.trial(rater, step)
        reply = rater.answer(step["trial"], real_side(trial), shown_ms=100.0)
        told += json.dumps(dict(reply.headers)) + (reply.body.decode() if trial.kind is not Kind.PRACTICE else "")
        step = reply.json["next"]
    secret = [item.id for item in (*study.items, *study.practice, *study.catch)]
    secret += [model.name for model in study.models] + [model.title for model in study.models]
    secret += [digest[:12] for digest in study.digests]
    secret += ['"catch', "reference", "real_left", '"real', "fake"]
    assert [word for word in secret if word in told] == []


def test_catch_trials_look_like_all_others(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path, practice=0, catch=2))
    rater = served.rater()
    step = rater.next()
    shapes: dict[Kind, set[object]] = {}
    while "trial" in step:
        trial = served.trial(rater, step)
        reply = rater.answer(step["trial"], real_side(trial), shown_ms=100.0).json
        shapes.setdefault(trial.kind, set()).add((tuple(sorted(step)), len(step["trial"]), tuple(sorted(reply))))
        step = reply["next"]
    assert shapes[Kind.CATCH] == shapes[Kind.MAIN]


@pytest.mark.parametrize("side", [1, 7, 32, 150])
def test_png_files_have_one_length_and_exact_pixels(side: int) -> None:
    import io

    from PIL import Image

    blobs = Blobs(side)
    images = [blobs.reference(0), np.zeros((side, side, 3), np.uint8)]
    files = [encode_png(image) for image in images]
    assert len(files[0]) == len(files[1])
    for image, data in zip(images, files, strict=True):
        with Image.open(io.BytesIO(data)) as opened:
            assert opened.info == {}
            assert np.array_equal(np.asarray(opened), image)
