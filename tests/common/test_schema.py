"""Files as dataclasses: what is written reads back equal, and whatever else stands in a file is the house's error."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from annotated_types import Ge, Lt
from hypothesis import given
from hypothesis import strategies as st

from palette_bench.common import schema
from palette_bench.common.errors import InputError, Problem, VerificationError
from palette_bench.common.schema import Digest, Key


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: Annotated[str, schema.NAME]
    weight: Annotated[float, Ge(0), Lt(10)]
    low: Annotated[float | None, Key("span.0")] = None
    high: Annotated[float | None, Key("span.1")] = None

    def faults(self) -> Iterator[Problem]:
        if self.low is not None and self.high is not None and self.low > self.high:
            yield Problem("wrong value", "span", f"[{self.low}, {self.high}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    town: Annotated[str, Key("place.town")]
    street: Annotated[str, Key("road.street")] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    FILE: ClassVar = schema.File("thing", version=("format", 2), next_step="mend it", computed=("heavy",))

    title: schema.Text
    place: Annotated[Place, Key("")]
    size: Annotated[int, Key("road.size"), Ge(1)]
    colour: Colour = Colour.RED
    sha256: Digest | None = None
    closed: Annotated[bool, Key("door"), schema.Words("open", "shut")] = False
    tags: tuple[str, ...] = ()
    parts: Mapping[str, Part] = field(default_factory=dict)
    free: Mapping[str, object] = field(default_factory=dict)
    hidden: Annotated[int, schema.NOT_IN_FILE] = 7

    @property
    def heavy(self) -> bool:
        return sum(part.weight for part in self.parts.values()) > 5


def a_thing() -> Thing:
    return Thing(
        title="A",
        place=Place(town="Ulm"),
        size=3,
        colour=Colour.BLUE,
        sha256="0" * 64,
        closed=True,
        tags=("x", "y"),
        parts={"a": Part(name="a", weight=2.5, low=1.0, high=2.0), "b": Part(name="b", weight=4)},
        free={"anything": [1, {"deep": None}]},
    )


def plain() -> dict[str, Any]:
    return {
        "format": 2,
        "heavy": True,
        "title": "A",
        "place": {"town": "Ulm"},
        "road": {"size": 3},
        "colour": "blue",
        "sha256": "0" * 64,
        "door": "shut",
        "tags": ["x", "y"],
        "parts": {"a": {"weight": 2.5, "span": [1.0, 2.0]}, "b": {"weight": 4}},
        "free": {"anything": [1, {"deep": None}]},
    }


def test_the_dataclass_is_the_file() -> None:
    assert schema.dump(a_thing()) == plain()
    assert schema.load(Thing, plain()) == a_thing()
    bare = Thing(title="A", place=Place(town="Ulm"), size=3)
    least = {"format": 2, "heavy": False, "title": "A", "place": {"town": "Ulm"}, "road": {"size": 3}}
    assert schema.dump(bare) == least
    assert schema.load(Thing, least) == bare


def test_toml_and_json_are_read_by_their_suffix(tmp_path: Path) -> None:
    (tmp_path / "thing.json").write_text(json.dumps(plain()))
    assert schema.read(Thing, tmp_path / "thing.json") == a_thing()
    (tmp_path / "thing.toml").write_text('format = 2\ntitle = "A"\nplace.town = "Ulm"\nroad.size = 3\n')
    assert schema.read(Thing, tmp_path / "thing.toml").size == 3


def fault(change: dict[str, Any]) -> InputError:
    with pytest.raises(InputError) as caught:
        schema.load(Thing, plain() | change, where="x.json")
    assert caught.value.where == "x.json"
    assert caught.value.next_step == ("mend it" if change.get("format", 2) != 3 else schema.NEWER)
    return caught.value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": 3}, "wrong type: title: expected text, found 3"),
        ({"title": "  "}, "wrong value: title: expected text that is not blank, found '  '"),
        ({"road": {"size": True}}, "wrong type: road.size: expected a whole number, found True"),
        ({"road": {"size": 2.5}}, "wrong type: road.size: expected a whole number, found 2.5"),
        ({"road": {"size": "3"}}, "wrong type: road.size: expected a whole number, found '3'"),
        ({"road": {"size": 0}}, "wrong value: road.size: expected at least 1, found 0"),
        (
            {"road": {"size": 10**400}},
            "wrong value: road.size: expected a number below 2^64",
        ),
        ({"road": {}}, "missing: road.size"),
        ({"road": []}, "wrong type: road: expected a table, found []"),
        ({"road": {"size": 3, "strete": "x"}}, "unknown key: road.strete: did you mean street?"),
        ({"tittle": 1}, "unknown key: tittle: did you mean title?"),
        ({"colour": "green"}, "wrong value: colour: expected 'red' or 'blue', found 'green'"),
        ({"sha256": "A" * 64}, "wrong value: sha256: expected a sha256"),
        ({"door": True}, "wrong value: door: expected 'open' or 'shut', found True"),
        ({"tags": "xy"}, "wrong type: tags: expected a list, found 'xy'"),
        ({"tags": ["x", 1]}, "wrong type: tags[1]: expected text, found 1"),
        (
            {"parts": {"a": {"weight": float("nan")}}},
            "wrong value: parts.a.weight: expected a finite number, found nan",
        ),
        ({"parts": {"a": {"weight": 10}}}, "wrong value: parts.a.weight: expected less than 10, found 10"),
        ({"parts": {"a": {"weight": 6, "span": [1]}}}, "missing: parts.a.span[1]"),
        ({"parts": {"a": {"weight": 6, "span": [2, 1]}}}, "wrong value: parts.a.span: [2.0, 1.0]"),
        ({"parts": {"a": {"weight": 6, "name": "b"}}}, "unknown key: parts.a.name"),
        ({"hidden": 1}, "unknown key: hidden"),
        ({"free": {"x": "\ud800"}}, "wrong value: free.x: expected whole characters"),
        ({"free": {"\udfff": 1}}, "expected a key of whole characters"),
        ({"free": {"x": b""}}, "wrong type: free.x: expected text, a number, a list or a table, found bytes"),
        ({"format": 3}, "a thing of another format"),
        ({"format": None}, "not a thing"),
    ],
)
def test_a_fault_is_named_with_key_expected_and_found(change: dict[str, Any], said: str) -> None:
    problems = fault(change)
    assert said in str(problems) if "format" in change else [said in str(p) for p in problems.problems] == [True]


def test_all_faults_are_reported_at_once() -> None:
    found = fault({"title": 3, "tags": 1, "more": 1, "parts": {"a": {}, "b": {"weight": -1}}})
    assert {p.where for p in found.problems} == {"title", "tags", "more", "parts.a.weight", "parts.b.weight"}


def test_what_is_computed_must_agree() -> None:
    with pytest.raises(VerificationError, match="contradicts: heavy: expected True, found False"):
        schema.load(Thing, plain() | {"heavy": False})


def test_a_list_where_the_file_is_a_table() -> None:
    with pytest.raises(InputError, match="the whole: expected a table"):
        schema.load(Thing, [])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.json", b"[" * 100_000),
        ("x.json", b'{"format":2,"free":' + b'{"a":' * 500 + b"1" + b"}" * 501),
        ("x.json", b'{"format": NaN}'),
        ("x.json", b'{"format": 1e999}'),
        ("x.json", b'{"format": 2, "format": 2}'),
        ("x.json", b'{"format": ' + b"9" * 10_000 + b"}"),
        ("x.json", b"\xff\xfe"),
        ("x.json", b""),
        ("x.toml", b"format = nan\n"),
        ("x.toml", b"a = " + b"[" * 10_000),
        ("x.toml", b"a = " + b"9" * 10_000),
        ("x.toml", b"format = 2\nformat = 2\n"),
        ("x.toml", b"format = 2\ntitle = 1979-05-27\n"),
        ("x.toml", b"format = 2\r title"),
        ("x.toml", "a = 1".encode("utf-16")),
    ],
)
def test_a_file_that_is_none_is_the_houses_error(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match="thing"):
        schema.read(Thing, tmp_path / name)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as stream:
        stream.truncate(schema.MOST_BYTES + 1)
    with pytest.raises(InputError, match="too large"):
        schema.read(Thing, tmp_path / "x.json")
    with pytest.raises(InputError, match="no thing here"):
        schema.read(Thing, tmp_path / "none.json")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(plain())), ANYTHING)
def test_whatever_stands_at_a_key_is_read_or_refused(key: str, value: object) -> None:
    changed = plain() | {key: value}
    try:
        read = schema.load(Thing, changed)
    except (InputError, VerificationError) as error:
        assert str(error)  # noqa: PT017
        str(error).encode()
    else:
        assert schema.load(Thing, schema.dump(read)) == read


def test_a_seal_is_of_all_the_rest() -> None:
    body = {"a": 1, "b": [2]}
    written = schema.sealed(body)
    assert schema.unsealed(written) == (body, True)
    assert schema.unsealed(written | {"a": 2})[1] is False


def test_lines_are_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"town": 1}\n')
    with pytest.raises(InputError, match="line 1"):
        list(schema.lines(Place, path))
    path.write_text('{"place": {"town": "Ulm"}}\n' * 2)
    assert list(schema.lines(Place, path)) == [Place(town="Ulm")] * 2


def test_the_json_schema_says_what_may_stand_there() -> None:
    made: Any = schema.json_schema(Thing)
    assert made["title"] == "Thing"
    assert made["required"] == ["format", "title", "place", "road"]
    assert made["properties"]["road"]["properties"]["size"]["minimum"] == 1
    assert made["additionalProperties"] is False


def test_pydantic_is_imported_only_by_who_reads() -> None:
    code = "import sys, palette_bench.artifacts.record; sys.exit('pydantic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
