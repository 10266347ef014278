import tomllib

import pytest

from palette_bench.common import resources
from palette_bench.common.errors import InputError, UsageError
from palette_bench.protocol.definition import (
    GeometryName,
    MaskSource,
    Rule,
    Selection,
    load_protocol,
    parse,
    protocol_names,
)
from palette_bench.protocol.tasks import TASKS, task

# A change here is a new version of a set: every number published on the old one becomes incomparable.
GOLDEN_SETS = {
    "folder": "910acdfa2bfc",
    "imagenet-coltran5k": "995b291d02b6",
    "imagenet-ctest10k": "eeb53119f042",
    "places10k": "956d7bca9281",
    "scenes32": "95f4e7858823",
}


def test_fingerprints_of_sets_are_pinned() -> None:
    assert {name: load_protocol(name).fingerprint()[:12] for name in protocol_names()} == GOLDEN_SETS


def test_prose_is_not_in_the_fingerprint() -> None:
    text = (resources.protocols() / "imagenet-ctest10k.toml").read_text()
    other = text.replace('title = "ImageNet ctest10k"', 'title = "another title"')
    assert other != text
    assert parse(other, where="test").fingerprint() == parse(text, where="test").fingerprint()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("size = 256", "size = 128"),
        ('geometry = "square-area"', 'geometry = "adm"'),
        ('exif = "ignore"', 'exif = "apply"'),
        ("count = 10000\n", "count = 9999\n"),
        ("36031", "36032"),
        ("version = 1", "version = 2"),
        ('masks = "generated"', 'masks = "released"'),
    ],
)
def test_whatever_moves_a_number_moves_the_fingerprint(old: str, new: str) -> None:
    text = (resources.protocols() / "imagenet-ctest10k.toml").read_text()
    assert old in text
    changed = parse(text.replace(old, new, 1), where="test")
    assert changed.fingerprint() != parse(text, where="test").fingerprint()


@pytest.mark.parametrize("name", protocol_names())
def test_every_field_has_a_source(name: str) -> None:
    text = (resources.protocols() / f"{name}.toml").read_text()
    content = tomllib.loads(text)
    fields = {f"{table}.{key}" for table in ("selection", "images", "tasks") for key in content[table]}
    fields |= {f"fid_reference.{key}" for key in content.get("fid_reference", {}) if key != "default"}
    derived = {"selection.sorted_list_sha256", "selection.labels_sha256"}
    assert fields - derived - set(load_protocol(name).sources) == set()
    assert all(len(source.note) > 10 for source in load_protocol(name).sources.values())


def test_variants_have_their_own_names_and_fingerprints() -> None:
    protocol = load_protocol("imagenet-ctest10k")
    variants = [
        protocol,
        protocol.with_variant(geometry=GeometryName.ADM),
        protocol.with_variant(masks=MaskSource.RELEASED),
        protocol.with_variant(selection=Selection(rule=Rule.LIST, count=2, list_sha256="ab" * 32)),
    ]
    assert [v.set_id for v in variants] == [
        "imagenet-ctest10k",
        "imagenet-ctest10k+adm",
        "imagenet-ctest10k+released-masks",
        "imagenet-ctest10k+list-abababab",
    ]
    assert len({v.fingerprint() for v in variants}) == 4
    assert protocol.with_variant(geometry=GeometryName.SQUARE_AREA).fingerprint() == protocol.fingerprint()


def test_a_task_has_one_fingerprint_in_each_set() -> None:
    protocol = load_protocol("imagenet-ctest10k")
    names = protocol.task_names
    assert len({protocol.task_fingerprint(name) for name in names}) == len(names) == 13
    assert protocol.task_fingerprint("uncrop") != load_protocol("imagenet-coltran5k").task_fingerprint("uncrop")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 1", "", "missing: version"),
        ("version = 1", 'version = "1"', "wrong type"),
        ("version = 1", "version = true", "wrong type"),
        ("version = 1", "version = 1\ncolour = 3", "unknown key: colour"),
        (
            'geometry = "square-area"',
            'geometry = "round"',
            "or 'adm', found 'round'",
        ),
        ("format = 1", "format = 2", "another format"),
        ("format = 1", "format = ", "TOML"),
        ('"colorize"', '"colourise"', "tasks.names\\[0\\]: expected one of colorize"),
    ],
)
def test_a_bad_definition_names_the_field(old: str, new: str, message: str) -> None:
    text = (resources.protocols() / "imagenet-ctest10k.toml").read_text().replace(old, new, 1)
    with pytest.raises((InputError, UsageError), match=message):
        parse(text, where="test.toml")


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="imagenet-ctest10k"):
        load_protocol("imagenet")
    with pytest.raises(UsageError, match="jpeg-qf5"):
        task("jpeg")


def test_any_jpeg_quality_is_a_task_though_only_the_papers_are_listed() -> None:
    assert TASKS["jpeg-qf50"].quality == 50
    assert TASKS["jpeg-qf50"].canonical() == {**TASKS["jpeg-qf5"].canonical(), "name": "jpeg-qf50", "quality": 50}
    assert [name for name in TASKS if name.startswith("jpeg-")] == ["jpeg-qf5", "jpeg-qf10", "jpeg-qf20"]
    for name in ("jpeg-qf0", "jpeg-qf05", "jpeg-qf96", "jpeg-qf100", "jpeg-qf", "jpeg-qf1 "):
        assert name not in TASKS


def test_an_unknown_task_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean uncrop-left"):
        task("uncorp-left")
    assert task(TASKS["uncrop"]) is TASKS["uncrop"]
