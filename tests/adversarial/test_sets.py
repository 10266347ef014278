"""Prepared sets that are stale, damaged or not the only ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from palette_bench.common.errors import ExitCode
from tests.adversarial import files
from tests.adversarial.harness import TINY, assert_accepted, assert_refused, complete_sets, prepare, records, run

TASK = "inpaint-freeform-20-30"
MASKS = f"tasks/{TASK}/masks.npz"
CONDITIONS = f"tasks/{TASK}/conditions.jsonl"

Damage = Callable[[Path], object]


def _edit(**values: object) -> Damage:
    """Other values in set.json."""

    def damage(folder: Path) -> None:
        path = folder / "set.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **values}), encoding="utf-8")

    return damage


def _lose(*path: str) -> Damage:
    """Without a field of set.json."""

    def damage(folder: Path) -> None:
        file = folder / "set.json"
        content = json.loads(file.read_bytes())
        inner = content
        for name in path[:-1]:
            inner = inner[name]
        del inner[path[-1]]
        file.write_text(json.dumps(content), encoding="utf-8")

    return damage


def _edit_task(**values: object) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "set.json"
        content = json.loads(path.read_bytes())
        content["tasks"][TASK].update(values)
        path.write_text(json.dumps(content), encoding="utf-8")

    return damage


def _write(name: str, data: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(data)


def _cut(name: str, part: float) -> Damage:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * part)])

    return damage


def _remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def _flip_line(name: str) -> Damage:
    """One digit of one line is another."""

    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        at = data.index(b"sha256") + 20
        (folder / name).write_bytes(data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :])

    return damage


def _flip_mask(folder: Path) -> None:
    with np.load(folder / MASKS) as archive:
        (key,) = archive.files
        masks = archive[key]
    masks[0, 0] ^= 0x80
    np.savez_compressed(folder / MASKS, **{key: masks})


def _older_definition(folder: Path) -> None:
    """What an earlier version of the protocol would have written."""
    content = json.loads((folder / "set.json").read_bytes())
    _edit(version=0, fingerprint="0" * 64, protocol={**content["protocol"], "version": 0})(folder)


def _other_definition_of_a_task(folder: Path) -> None:
    content = json.loads((folder / "set.json").read_bytes())
    _edit_task(definition={**content["tasks"][TASK]["definition"], "area_percent": [1, 2]})(folder)


DAMAGED, STALE, CHANGED = "in a set file", "another version of its protocol", "were changed"
INPUT, VERIFICATION = ExitCode.INPUT, ExitCode.VERIFICATION

# What is done to the set, the exit code, the message; all of which opening the set tells.
UNUSABLE: dict[str, tuple[Damage, ExitCode, tuple[str, ...]]] = {
    "no set.json": (_remove("set.json"), INPUT, ("no set file here", "set.json")),
    "set.json cut short": (_cut("set.json", 0.5), INPUT, ("a set file cannot be read", "set.json")),
    "set.json empty": (_write("set.json", b""), INPUT, ("a set file cannot be read", "set.json")),
    "set.json not JSON": (_write("set.json", b"version = 1"), INPUT, ("a set file cannot be read",)),
    "set.json binary": (_write("set.json", bytes(range(256))), INPUT, ("a set file cannot be read",)),
    "set.json nested without end": (_write("set.json", b"[" * 100_000), INPUT, ("a set file cannot be read",)),
    "set.json a list": (_write("set.json", b"[]"), INPUT, ("expected a table, found []",)),
    "a number that is none": (_edit(count="many"), INPUT, (DAMAGED, "set.json")),
    "an infinite number": (_edit(size=float("inf")), INPUT, ("a set file cannot be read", "set.json")),
    "software that is a list": (_edit(software=[]), INPUT, (DAMAGED,)),
    "tasks that are a list": (_edit(tasks=[]), INPUT, (DAMAGED,)),
    "an unknown status": (_edit(status="fine"), INPUT, (DAMAGED, "fine")),
    "a lost field": (_lose("classes"), INPUT, (DAMAGED, "classes")),
    "a lost task": (_lose("tasks", TASK), INPUT, (DAMAGED, TASK)),
    "a lost digest": (_lose("tasks", TASK, "conditions_sha256"), INPUT, (DAMAGED, TASK)),
    "a lost definition": (_lose("protocol", "selection"), INPUT, ("a set file is damaged", "selection")),
    "an older schema": (_edit(schema=0), INPUT, ("a set file of another schema", "schema 0")),
    "an older version of the protocol": (_older_definition, VERIFICATION, (STALE, "version 0")),
    "another fingerprint": (_edit(fingerprint="f" * 64), VERIFICATION, (STALE, "ffff")),
    "another size": (_edit(size=64), VERIFICATION, (STALE,)),
    "another version alone": (_edit(version=7), VERIFICATION, ("contradicts its own definition", "7")),
    "another name alone": (_edit(set="imagenet-ctest10k"), VERIFICATION, ("contradicts its own definition",)),
    "another geometry alone": (_edit(geometry="adm"), VERIFICATION, ("contradicts its own definition", "adm")),
    "another definition of the task": (_other_definition_of_a_task, VERIFICATION, ("is defined otherwise", TASK)),
    "another fingerprint of the task": (_edit_task(fingerprint="f" * 64), VERIFICATION, (TASK, "ffff")),
}

# The same for what reading the set tells; the digests of set.json are those of what was there.
DAMAGED_DATA: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "another count": (_edit(count=7), ("count does not fit its manifest", "7 items", "8 items")),
    "another data digest": (_edit(data_digest="0" * 64), ("does not fit its manifest",)),
    "manifest edited": (_flip_line("manifest.jsonl"), ("manifest was changed", "manifest.jsonl")),
    "manifest cut short": (_cut("manifest.jsonl", 0.5), ("manifest was changed", "manifest.jsonl")),
    "manifest removed": (_remove("manifest.jsonl"), ("a file of a set is missing", "manifest.jsonl")),
    "reference edited": (
        lambda folder: (folder / "references" / "a002.png").write_bytes(files.png(50, 32, 32)),
        ("a002", CHANGED),
    ),
    "reference removed": (_remove("references/a003.png"), ("a003", "a reference is missing")),
    "reference cut short": (_cut("references/a004.png", 0.5), ("a004", "a reference cannot be read")),
    "masks edited": (_flip_mask, ("masks were changed", MASKS)),
    "masks cut short": (_cut(MASKS, 0.6), ("masks were changed", MASKS)),
    "masks not an npz": (_write(MASKS, b"PK no"), ("masks were changed", MASKS)),
    "masks removed": (_remove(MASKS), ("masks were changed", MASKS)),
}

# The condition files matter to whoever reads conditions.
DAMAGED_CONDITIONS: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "conditions edited": (_flip_line(CONDITIONS), ("conditions file was changed", CONDITIONS)),
    "conditions removed": (_remove(CONDITIONS), ("a file of a set is missing", CONDITIONS)),
}


def _score(folder: Path) -> tuple[object, ...]:
    preds = folder.parents[2] / "preds"
    shutil.copytree(folder / "references", preds)
    return ("score", "--task", TASK, "--preds", preds, "--allow-other-weights", "--jobs", 1, "--out", "out")


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_set_is_refused_by_every_command(kind: str, tiny: Path, networks: Path) -> None:
    damage, code, says = UNUSABLE[kind]
    score = _score(tiny)
    damage(tiny)
    assert_refused(run(*score, "--set", TINY), code, str(tiny), *says)
    assert_refused(run("verify", TINY, "--jobs", 1), code, str(tiny), *says)
    export = run("export", "--set", TINY, "--task", TASK, "--holes", "white", "--out", "exported", "--jobs", 1)
    assert_refused(export, code, str(tiny), *says)
    assert_accepted(run("sets"))
    assert records(Path.cwd()) == []
    assert not Path("exported/export.json").exists()


@pytest.mark.parametrize("kind", DAMAGED_DATA)
def test_a_damaged_set_scores_nothing_until_it_is_prepared_again(
    kind: str, tiny: Path, networks: Path, source: Path
) -> None:
    damage, says = DAMAGED_DATA[kind]
    score = _score(tiny)
    damage(tiny)
    assert_refused(run("verify", TINY, "--jobs", 1), VERIFICATION, *says)
    outcome = run(*score, "--set", TINY)
    assert outcome.code in (INPUT, VERIFICATION)
    assert_refused(outcome, ExitCode(outcome.code), says[0])
    assert records(Path.cwd()) == []
    assert_accepted(prepare(source, "--replace"))
    assert_accepted(run("verify", TINY))
    assert_accepted(run(*score, "--set", TINY))
    assert len(records(Path("out"))) == 2


@pytest.mark.parametrize("kind", DAMAGED_CONDITIONS)
def test_damaged_conditions_are_found_and_not_exported(kind: str, tiny: Path) -> None:
    damage, says = DAMAGED_CONDITIONS[kind]
    damage(tiny)
    assert_refused(run("verify", TINY, "--jobs", 1), VERIFICATION, *says)
    export = run("export", "--set", TINY, "--task", TASK, "--holes", "white", "--out", "exported", "--jobs", 1)
    assert_refused(export, VERIFICATION, *says)
    assert not Path("exported/export.json").exists()


@pytest.mark.parametrize("kind", ["no set.json", "set.json cut short", "an older version of the protocol"])
def test_a_set_that_cannot_be_used_is_not_taken_for_prepared(kind: str, tiny: Path, source: Path) -> None:
    UNUSABLE[kind][0](tiny)
    outcome = prepare(source)
    assert_refused(outcome, ExitCode(outcome.code), str(tiny), "--replace")
    assert outcome.code in (INPUT, VERIFICATION)
    assert_accepted(prepare(source, "--replace"))
    assert_accepted(run("verify", TINY))


def test_a_renamed_set_is_not_taken_for_another(tiny: Path) -> None:
    tiny.rename(tiny.with_name("other"))
    assert_refused(run("verify", "other", "--jobs", 1), VERIFICATION, "renamed", "other")


def test_a_set_that_is_a_file_is_refused(home: Path, source: Path) -> None:
    (home / "sets").mkdir(parents=True)
    (home / "sets" / TINY).write_text("no set", encoding="utf-8")
    assert_refused(prepare(source), INPUT, "a set file cannot be read", str(home / "sets" / TINY))
    assert complete_sets(home) == []


def test_an_unfinished_build_of_anything_is_started_again(home: Path, source: Path) -> None:
    unfinished = home / "sets" / ".building" / TINY
    files.folder_of(unfinished, {"build.json": b"{cut", "journal/000000.json": b"[]", "references/old.png": b"old"})
    assert_accepted(prepare(source))
    assert not (home / "sets" / TINY / "references" / "old.png").exists()
    assert_accepted(run("verify", TINY))


def test_a_set_that_is_not_there_names_those_that_are(tiny: Path) -> None:
    for command in (("verify", "nope"), ("show", "nope"), ("score", "--set", "nope", "--task", TASK, "--preds", ".")):
        assert_refused(
            run(*command),
            INPUT,
            "set nope is not prepared",
            f"one of {TINY}",
            "palette-bench prepare folder --source DIR --name nope",
        )
    assert_refused(run("verify", "../sets/tiny"), INPUT, "is not prepared")


def test_no_set_at_all_is_told(home: Path) -> None:
    assert_refused(run("verify", TINY), INPUT, "is not prepared", "nothing", str(home / "sets"))
    assert_refused(run("score", "--task", TASK, "--preds", "."), INPUT, "no set is prepared", str(home / "sets"))


def test_of_several_sets_one_must_be_named(tiny: Path, source: Path) -> None:
    assert_accepted(prepare(source, name="second"))
    says = ("more than one prepared set has this task", "--set with one of second, tiny")
    assert_refused(run("score", "--task", TASK, "--preds", "."), ExitCode.USAGE, *says, next_step=False)
    assert_refused(run("export", "--task", TASK, "--out", "x"), ExitCode.USAGE, *says, next_step=False)


def test_an_unknown_task_names_those_there_are(tiny: Path) -> None:
    for command in (("score", "--preds", "."), ("export", "--out", "x")):
        outcome = run(*command, "--set", TINY, "--task", "inpaint")
        assert_refused(
            outcome, ExitCode.USAGE, "has no task of this name", "uncrop", "found:    inpaint", next_step=False
        )
        assert_refused(run(*command, "--task", "inpaint"), ExitCode.USAGE, "no such task", "inpaint-center")


def test_an_export_needs_to_know_the_colour_of_holes(tiny: Path) -> None:
    outcome = run("export", "--task", TASK, "--out", "exported", "--jobs", 1)
    assert_refused(outcome, ExitCode.USAGE, "models disagree", "--holes white", "no --holes", next_step=False)
    assert_refused(
        run("export", "--task", TASK, "--out", "x", "--holes", "grey"), ExitCode.USAGE, "grey", next_step=False
    )
    assert not Path("exported").exists()


@pytest.mark.parametrize("kind", ["a folder with something in it", "a file", "below a file"])
def test_an_export_overwrites_nothing(kind: str, tiny: Path) -> None:
    Path("taken").write_text("mine", encoding="utf-8")
    files.folder_of(Path("full"), {"mine.txt": b"mine"})
    out = {"a folder with something in it": "full", "a file": "taken", "below a file": "taken/out"}[kind]
    outcome = run("export", "--task", "uncrop", "--holes", "white", "--out", out, "--jobs", 1)
    assert_refused(outcome, INPUT, out)
    assert Path("taken").read_text(encoding="utf-8") == "mine"
    assert [path.name for path in Path("full").iterdir()] == ["mine.txt"]
    assert_accepted(run("export", "--task", "uncrop", "--holes", "white", "--out", "new", "--jobs", 1))
    assert Path("new/export.json").is_file()


def test_a_sheet_cannot_be_drawn_into_a_folder(tiny: Path) -> None:
    assert_refused(run("show", TINY, "--out", "."), INPUT)
    assert_refused(run("show", TINY, "--rows", "0"), ExitCode.USAGE, "--rows", next_step=False)


def test_a_damaged_set_is_told_in_the_same_words_by_several_processes(home: Path, tmp_path: Path) -> None:
    source = files.images(tmp_path / "more", 70, width=32, height=32)
    assert_accepted(prepare(source))
    (home / "sets" / TINY / CONDITIONS).write_bytes(b"{}\n")
    outcome = run("verify", TINY, "--jobs", 2)
    assert_refused(outcome, VERIFICATION, "conditions file was changed", CONDITIONS)
