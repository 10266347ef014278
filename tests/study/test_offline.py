"""A study without a server: what its pages hold, and which files of answers come back in."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from palette_bench.common.errors import InputError, UsageError
from palette_bench.study import store
from palette_bench.study.analyze import analyze
from palette_bench.study.definition import Study, write_study
from palette_bench.study.design import Design, Kind
from palette_bench.study.keys import read_keys
from palette_bench.study.offline import (
    AnswerFile,
    StaticAnswer,
    bundle,
    commitment,
    export_static,
    import_answers,
    seat_key,
    signed,
)
from palette_bench.study.server import asset
from palette_bench.study.sitting import Measured
from tests.study.worlds import small_study


def answer_file(folder: Path, study: Study, *, seat: int = 0, sitting: str = "a1", flip: int = -1) -> bytes:
    keys, design = read_keys(folder), Design(study)
    answers = []
    for trial in design.trials(seat):
        side = "left" if trial.real_left else "right"
        choice = side if trial.number != flip else {"left": "right", "right": "left"}[side]
        answers.append(
            StaticAnswer(
                trial=trial.number,
                choice=choice,
                commitment=commitment(keys, seat, trial.number, side),
                measured=Measured(shown_ms=100.0, response_ms=700.0),
            )
        )
    content = AnswerFile(
        format=1,
        study=study.fingerprint,
        seat=seat,
        sitting=sitting,
        consent="1",
        consented=1_700_000_000.0,
        browser="Chromium, static",
        answers=tuple(answers),
    )
    return signed(content, seat_key(keys, study, seat))


def save(folder: Path, data: bytes, name: str = "answers.json") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_folder_holds_commitments_and_no_truth(tmp_path: Path) -> None:
    study = small_study(tmp_path / "study")
    pages = export_static(tmp_path / "study", study, tmp_path / "dist", [0, 3])
    assert [page.name for page in pages] == ["seat-1.html", "seat-4.html"]
    script = (tmp_path / "dist" / "seat-1.js").read_text()
    data = json.loads(script.partition(" = ")[2].rstrip(";\n"))
    keys, design = read_keys(tmp_path / "study"), Design(study)
    for told, trial in zip(data["trials"], design.trials(0), strict=True):
        side = "left" if trial.real_left else "right"
        assert told["commitment"] == commitment(keys, 0, trial.number, side)
        assert ("right" in told) == (trial.kind is Kind.PRACTICE)
    everything = "".join(p.read_text() for p in (tmp_path / "dist").iterdir() if p.is_file())
    secret = [item.id for item in study.items] + [digest[:12] for digest in study.digests]
    secret += [model.name for model in study.models] + ['"catch', keys.tokens.hex(), keys.people.hex()]
    assert [word for word in secret if word in everything] == []
    names = [path.name for path in (tmp_path / "dist" / "images").iterdir()]
    assert len(names) == 2 * 2 * len(data["trials"])
    assert len({path.stat().st_size for path in (tmp_path / "dist" / "images").iterdir()}) == 1
    page = pages[0].read_text()
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|https?:", page)
    with pytest.raises(UsageError, match="not empty"):
        export_static(tmp_path / "study", study, tmp_path / "dist", [0])
    with pytest.raises(UsageError, match="no such seat"):
        export_static(tmp_path / "study", study, tmp_path / "other", [99])


def test_answers_come_in_once_and_are_analysed(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    paths = [
        save(tmp_path, answer_file(tmp_path, study, sitting="a"), "a.json"),
        save(tmp_path, answer_file(tmp_path, study, seat=1, sitting="b", flip=4), "b.json"),
    ]
    done = import_answers(tmp_path, study, paths)
    assert (done.new, done.known) == (2, 0)
    again = import_answers(tmp_path, study, [*paths, paths[0]])
    assert (again.new, again.known) == (0, 2)
    found = analyze(study, tmp_path / "answers.sqlite")
    assert found.record.flow.completed == 2
    assert sum(j.fooled for j in found.judgements) == 1
    with store.reading(tmp_path / "answers.sqlite") as connection:
        assert {session.seat for session in store.sessions(connection)} == {0, 1}


def edited(data: bytes, old: str, new: str) -> bytes:
    values = json.loads(data)
    assert old in values["body"]
    values["body"] = values["body"].replace(old, new)
    return json.dumps(values).encode()


def test_edited_foreign_and_damaged_files_are_refused_and_nothing_is_taken(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    good = answer_file(tmp_path, study)
    bad = {
        "edited": edited(good, '"choice":"left"', '"choice":"right"'),
        "seat": edited(good, '"seat":0', '"seat":1'),
        "nowhere": edited(good, '"seat":0', '"seat":77'),
        "foreign": edited(good, study.fingerprint, "0" * 64),
        "half": good[: len(good) // 2],
        "empty": b"",
        "other": b'{"body": 3}',
        "inner": b'{"body": "[]", "signature": ""}',
    }
    save(tmp_path, good, "good.json")
    for name, data in bad.items():
        with pytest.raises(InputError, match="nothing was"):
            import_answers(tmp_path, study, [tmp_path / "good.json", save(tmp_path, data, f"{name}.json")])
    assert not (tmp_path / "answers.sqlite").exists()


def test_a_page_of_another_truth_breaks_its_commitments(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    data = json.loads(answer_file(tmp_path, study))
    body: dict[str, Any] = json.loads(data["body"])
    body["answers"][5]["commitment"] = "0" * 64
    text = json.dumps(body)
    import hashlib
    import hmac

    key = bytes.fromhex(seat_key(read_keys(tmp_path), study, 0))
    forged = {"body": text, "signature": hmac.new(key, text.encode(), hashlib.sha256).hexdigest()}
    with pytest.raises(InputError) as raised:
        import_answers(tmp_path, study, [save(tmp_path, json.dumps(forged).encode())])
    assert raised.value.problems[0].kind == "commitment"


def test_two_files_of_one_sitting_must_agree(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    one = save(tmp_path, answer_file(tmp_path, study), "one.json")
    two = save(tmp_path, answer_file(tmp_path, study, flip=4), "two.json")
    with pytest.raises(InputError):
        import_answers(tmp_path, study, [one, two])
    import_answers(tmp_path, study, [one])
    with pytest.raises(InputError, match="imported before"):
        import_answers(tmp_path, study, [two])


def test_answers_made_before_an_edit_are_of_another_study(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    path = save(tmp_path, answer_file(tmp_path, study))
    other = replace(study, trials=replace(study.trials, break_every=3))
    write_study(other, tmp_path)
    with pytest.raises(InputError) as raised:
        import_answers(tmp_path, other, [path])
    assert "another study" in raised.value.problems[0].kind


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to run the scripts in")
def test_the_page_signs_as_the_import_checks(tmp_path: Path) -> None:
    import hashlib
    import hmac

    script = tmp_path / "sha256.mjs"
    script.write_bytes(
        asset("sha256.js")
        + b"\nconst [key, text] = process.argv.slice(2);"
        + b"\nconsole.log(hex(sha256(new TextEncoder().encode(text))));"
        + b"\nconsole.log(hex(hmac(unhex(key), new TextEncoder().encode(text))));"
    )
    for length in (0, 1, 55, 56, 63, 64, 65, 119, 120, 1000):
        text, key = "aß€"[: length % 3 + 1] + "x" * length, "0b" * 32
        out = subprocess.run(["node", script, key, text], capture_output=True, text=True, check=True).stdout.split()
        assert out[0] == hashlib.sha256(text.encode()).hexdigest()
        assert out[1] == hmac.new(bytes.fromhex(key), text.encode(), hashlib.sha256).hexdigest()


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to run the scripts in")
def test_the_bundle_is_one_plain_script(tmp_path: Path) -> None:
    path = tmp_path / "study.js"
    path.write_bytes(bundle())
    subprocess.run(["node", "--check", path], check=True)
    assert b"import {" not in bundle()
    assert b"export " not in bundle()
