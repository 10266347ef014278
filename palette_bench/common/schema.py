"""The dataclass is the file: every JSON and TOML file of ours is read into, and written from, one frozen dataclass.

    record = schema.read(Record, Path("result.json"))           # .json or .toml, by the suffix
    record = schema.load(Record, {"name": "mine"}, where="x")    # plain data that somebody else parsed
    write_json(path, schema.dump(record))                        # plain data, the inverse of load
    write_json(path, schema.sealed(schema.dump(record)))         # with the digest of all the rest, last
    schema.json_schema(Record)                                   # JSON Schema (2020-12), for docs/reference/schemas

Fields are keys. Their types say what may stand there: ``str``, ``int``, ``float``, ``bool``, enums, ``Literal``,
``X | None``, ``tuple[X, ...]``, ``Mapping[str, X]``, ``object`` for anything, and dataclasses for tables within. Types
are strict (no bool is a number, no text is one; a whole number passes for a fraction), numbers are finite, and unknown
keys are refused. ``Annotated`` says more of a field:

    ``Key("images.size")``      it stands elsewhere: at that path; ``Key("interval.0")`` is a place of a list that is
                                null where all its fields are None; ``Key("named.*")`` are all other keys of a table;
                                ``Key("")`` spreads a dataclass over its parent
    ``Fits(test, "expected")``  a value must pass a test; so do ``Ge``, ``Gt``, ``Le``, ``Lt`` of annotated_types
    ``Words("no", "yes")``      a bool is written as one of two words
    ``NAME``                    it is the key of its dataclass in a table of such
    ``NOT_IN_FILE``             it is none of the file's; it has a default

``FILE: ClassVar[schema.File]`` says what a file is called in errors, its version and what to do about a bad one. A
method ``faults()`` yields a Problem for each contradiction between fields, ``where`` a key of the dataclass.

Whatever is wrong with a file, the error is the house's, with all of its faults: InputError, no traceback, whether the
file is cut, nested without end, too large, or holds NaN, doubled keys, halves of characters or 400 digits.
"""

import difflib
import functools
import json
import math
import tomllib
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

from palette_bench.common.canonical import fingerprint
from palette_bench.common.errors import InputError, Problem, VerificationError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, TypeAdapter
    from pydantic_core import CoreSchema, ErrorDetails

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., object])
_Hint: TypeAlias = Any
"""A type as it is written at a field, which Python has no type for."""
_Plain: TypeAlias = Any
"""What JSON and TOML hold."""

MOST_BYTES = 1 << 26
DEEPEST = 64
"""Tables within tables."""
LARGEST = 1 << 64
LONGEST_SHOWN = 100
SEAL = "seal"
NEWER = "read it with the version of palette-bench that wrote it, or a later one"
CONTRADICTS = "contradicts"
"""The kind of a problem of a key that is computed from the others and says something else."""


@dataclass(frozen=True, slots=True)
class File:
    """What a kind of file is called in errors (``record``), and more that no field says.

    ``version`` is the key and the number of its format, ``computed`` are properties that stand in it and must agree.
    Where ``every_key`` is set a key may not be left out because its field has a default. ``most_bytes`` bounds it.
    """

    word: str
    version: tuple[str, int] | None = None
    next_step: str | None = None
    computed: tuple[str, ...] = ()
    every_key: bool = False
    most_bytes: int = MOST_BYTES


@dataclass(frozen=True, slots=True)
class Key:
    """Where a field stands: the keys from its dataclass on, with dots between."""

    path: str


@dataclass(frozen=True, slots=True)
class Fits:
    """A test that a value must pass, and how a message names what passes it."""

    test: Callable[[Any], bool]
    expected: str


@dataclass(frozen=True, slots=True)
class Words:
    """The words that a bool is written as."""

    false: str
    true: str


def _once(function: _F) -> _F:
    """A function of a class that is called once for each."""
    return typing.cast(_F, functools.cache(function))


class _Mark(Enum):
    NAME = "name"
    NOT_IN_FILE = "not in file"


NAME = _Mark.NAME
NOT_IN_FILE = _Mark.NOT_IN_FILE


def is_digest(text: str) -> bool:
    """Whether ``text`` is a sha256 in 64 lower-case hexadecimal digits."""
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)


Digest = Annotated[str, Fits(is_digest, "a sha256 of 64 lower-case hexadecimal digits")]
Text = Annotated[str, Fits(lambda text: bool(text.strip()), "text that is not blank")]


def read(kind: type[_T], path: Path) -> _T:
    """The file at ``path``, TOML or JSON by its suffix. Raises InputError with all of its faults."""
    return parse(kind, read_bytes(kind, path), where=path)


def read_bytes(kind: type[Any], path: Path) -> bytes:
    """The bytes of a file of that kind. Raises InputError where there is none, or one that is too large."""
    of = file_of(kind)
    try:
        with path.open("rb") as stream:
            data = stream.read(of.most_bytes + 1)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise InputError(
            f"no {of.word} here" if missing else f"a {of.word} cannot be read",
            where=path,
            expected=f"a {of.word}",
            found="nothing" if missing else getattr(error, "strerror", None) or error,
            next_step=of.next_step,
        ) from error
    if len(data) > of.most_bytes:
        raise InputError(
            f"a {of.word} is too large",
            where=path,
            expected=f"at most {of.most_bytes} bytes",
            found="more",
            next_step=of.next_step,
        )
    return data


def parse(kind: type[_T], data: bytes | str, *, where: object, toml: bool | None = None) -> _T:
    """The content of a file, TOML or JSON by the suffix of ``where``. Raises InputError with all of its faults."""
    return load(kind, parsed(kind, data, where=where, toml=toml), where=where)


def parsed(kind: type[Any], data: bytes | str, *, where: object, toml: bool | None = None) -> object:
    """The plain data in a file's content. Raises InputError where it is not TOML, or not JSON."""
    of = file_of(kind)
    as_toml = str(where).endswith(".toml") if toml is None else toml
    try:
        if as_toml:
            return tomllib.loads(data if isinstance(data, str) else data.decode())
        return plain_json(data)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"a {of.word} cannot be read",
            where=where,
            expected="TOML" if as_toml else "JSON",
            found=str(error)[:200],
            next_step=of.next_step,
        ) from error


def plain_json(data: bytes | str) -> object:
    """The JSON in ``data``. Raises ValueError for NaN, infinities and doubled keys, RecursionError for a deep one."""

    def refuse(word: str) -> float:
        raise ValueError(f"{word} is not a finite number")

    def finite(digits: str) -> float:
        return number if math.isfinite(number := float(digits)) else refuse(digits)

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(table := dict(pairs)) != len(pairs):
            keys = [key for key, _ in pairs]
            raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
        return table

    return json.loads(data, parse_constant=refuse, parse_float=finite, object_pairs_hook=once)


def load(kind: type[_T], value: object, *, where: object = None) -> _T:
    """Plain data as a dataclass.

    Raises InputError with every fault, each with key, expected and found, and VerificationError where nothing is wrong
    but that what is computed from the rest says something else.
    """
    from pydantic import ValidationError

    of = file_of(kind)
    if of.version is not None and isinstance(value, Mapping) and value.get(of.version[0]) != of.version[1]:
        _another_version(of, value.get(of.version[0]), where)
    problems: list[Problem] = []
    fit = _fit(value, (), problems)
    try:
        # JSON's own strictness: an enum may be its word and a tuple a list, and nothing else is anything else.
        made = typing.cast(_T, _adapter(kind).validate_json(json.dumps(fit), strict=True))
    except ValidationError as error:
        unfit = {problem.where for problem in problems}
        faults = [problem for fault in error.errors(include_url=False) for problem in _problems(kind, fault)]
        problems += [problem for problem in faults if problem.where not in unfit]
    else:
        if not problems:
            return made
    altered = all(problem.kind == CONTRADICTS for problem in problems)
    raise (VerificationError if altered else InputError)(
        f"{len(problems)} {'fault' if len(problems) == 1 else 'faults'} in a {of.word}",
        where=where,
        problems=problems,
        next_step=of.next_step,
    )


def _another_version(of: File, found: object, where: object) -> typing.NoReturn:
    assert of.version is not None  # noqa: S101 - the caller's test, told to mypy
    key, number = of.version
    newer = isinstance(found, int) and found > number
    raise InputError(
        f"a {of.word} of another {key}" if found is not None else f"not a {of.word}",
        where=where,
        expected=f"{key} {number}",
        found=f"no {key}" if found is None else f"{key} {shown(found)}",
        next_step=NEWER if newer else of.next_step,
    )


def lines(kind: type[_T], path: Path) -> Iterator[_T]:
    """The lines of a JSONL file, each a dataclass. Raises InputError at the first line that is not one."""
    for number, line in enumerate(read_bytes(kind, path).splitlines(), 1):
        yield parse(kind, line, where=f"{path}, line {number}")


def dump(value: object) -> dict[str, object]:
    """A dataclass as plain data. Keys of a TOML file that have their default are left out."""
    return _dump(value, every_key=file_of(type(value)).every_key)


def sealed(body: Mapping[str, object]) -> dict[str, object]:
    """``body`` with its seal: the digest of all the rest.

    The seal tells a file that was changed by accident or by hand; it proves nothing about who made it.
    """
    return {**body, SEAL: fingerprint(body)}


def unsealed(content: Mapping[str, object]) -> tuple[dict[str, object], bool]:
    """What was sealed, and whether its seal is still that of its content."""
    body = {name: value for name, value in content.items() if name != SEAL}
    return body, content.get(SEAL) == fingerprint(body)


def json_schema(kind: type[Any]) -> dict[str, object]:
    """The JSON Schema of a kind of file."""
    return _adapter(kind).json_schema()


def file_of(kind: type[Any]) -> File:
    """What is said of a kind of file, or of a table of no file of its own."""
    of = getattr(kind, "FILE", None)
    return of if isinstance(of, File) else File(kind.__name__)


def shown(value: object) -> str:
    """A value as a message shows it: short, whatever it is."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"a number of about {round(value.bit_length() * 0.30103)} digits"
    text = json.dumps(value, ensure_ascii=False, default=repr) if isinstance(value, dict | list) else repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a dataclass: its type and marks, and the path of its value in the table."""

    name: str
    hint: _Hint
    marks: tuple[object, ...]
    path: tuple[str | int, ...]
    optional: bool
    default: object

    @property
    def spread(self) -> bool:
        return not self.path


@_once
def _fields(kind: type[Any]) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(kind, include_extras=True)
    found = []
    for field in fields(kind):
        hint, marks = _split(hints[field.name])
        path = next((mark.path for mark in marks if isinstance(mark, Key)), field.name)
        parts = tuple(int(part) if part.isdecimal() else part for part in path.split(".") if part)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        found.append(_Field(field.name, hint, marks, parts, default is not MISSING, default))
    return tuple(found)


def _in_file(kind: type[Any]) -> list[_Field]:
    return [field for field in _fields(kind) if NAME not in field.marks and NOT_IN_FILE not in field.marks]


def _split(hint: _Hint) -> tuple[_Hint, tuple[object, ...]]:
    marks: tuple[object, ...] = ()
    while hasattr(hint, "__metadata__"):
        marks = (*hint.__metadata__, *marks)
        hint = hint.__origin__
    return hint, marks


def _fit(value: object, path: tuple[str | int, ...], problems: list[Problem]) -> object:
    """``value`` with None for all that no file may hold anywhere, which goes to ``problems``."""
    if len(path) > DEEPEST:
        problems.append(
            Problem("wrong value", _where(path[:4]) + "...", f"tables within tables, deeper than {DEEPEST}")
        )
    elif isinstance(value, Mapping):
        whole = {key: inner for key, inner in value.items() if isinstance(key, str) and _whole_text(key)}
        problems += [
            Problem("wrong value", _where((*path, ascii(key))), "expected a key of whole characters")
            for key in value
            if key not in whole
        ]
        return {key: _fit(inner, (*path, key), problems) for key, inner in whole.items()}
    elif isinstance(value, list | tuple):
        return [_fit(inner, (*path, place), problems) for place, inner in enumerate(value)]
    elif isinstance(value, str) and not _whole_text(value):
        found = f"expected whole characters, found {ascii(value)[:200]}"
        problems.append(Problem("wrong value", _where(path), found))
    elif isinstance(value, int) and abs(value) > LARGEST:
        problems.append(Problem("wrong value", _where(path), f"expected a number below 2^64, found {shown(value)}"))
    elif isinstance(value, float) and not math.isfinite(value):
        problems.append(Problem("wrong value", _where(path), f"expected a finite number, found {value}"))
    elif value is None or isinstance(value, str | int | float):
        return value
    else:
        found = f"expected text, a number, a list or a table, found {type(value).__name__}"
        problems.append(Problem("wrong type", _where(path), found))
    return None


def _whole_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def _where(path: Sequence[str | int]) -> str:
    return (
        "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".") or "the whole"
    )


@_once
def _adapter(kind: type[Any]) -> "TypeAdapter[object]":
    from pydantic import TypeAdapter

    class Shape:
        def __get_pydantic_core_schema__(self, _: object, handler: "GetCoreSchemaHandler") -> "CoreSchema":
            return _table_schema(kind, handler, every_key=file_of(kind).every_key)

    return TypeAdapter(typing.cast(type[object], Annotated[kind, Shape()]))


def _table_schema(kind: type[Any], handler: "GetCoreSchemaHandler", *, every_key: bool) -> "CoreSchema":
    from pydantic_core import core_schema

    of, tree = file_of(kind), dict[str | int, Any]()
    if of.version is not None:
        tree[of.version[0]] = core_schema.literal_schema([of.version[1]]), True
    for name in of.computed:
        hint = typing.get_type_hints(getattr(kind, name).fget, include_extras=True)["return"]
        tree[name] = _schema(*_split(hint), handler, every_key=every_key), every_key

    def place(part: type[Any]) -> None:
        for field in _in_file(part):
            if field.spread:
                place(field.hint)
                continue
            inside = tree
            for step in field.path[:-1]:
                inside = inside.setdefault(step, {})
            schema = _schema(field.hint, field.marks, handler, every_key=every_key)
            inside[field.path[-1]] = schema, every_key or not field.optional

    place(kind)
    says = {"title": kind.__name__, "description": (kind.__doc__ or "").partition("\n")[0]}
    return core_schema.no_info_after_validator_function(
        functools.partial(_made, kind), _group(tree), metadata={"pydantic_js_updates": says}
    )


def _group(tree: dict[str | int, Any]) -> "CoreSchema":
    """The schema of a table out of those of its keys, some of which are tables without a dataclass."""
    from pydantic_core import core_schema

    parts = {
        key: (_group(inner), any(_required(inner))) if isinstance(inner, dict) else inner for key, inner in tree.items()
    }
    if all(isinstance(key, int) for key in parts) and parts:
        return core_schema.nullable_schema(core_schema.tuple_schema([parts[place][0] for place in sorted(parts)]))
    others = parts.pop("*", (None, False))[0]
    keys = {
        str(key): core_schema.typed_dict_field(schema, required=required) for key, (schema, required) in parts.items()
    }
    if others is None:
        return core_schema.typed_dict_schema(keys, extra_behavior="forbid")
    return core_schema.typed_dict_schema(keys, extra_behavior="allow", extras_schema=others["values_schema"])


def _required(tree: dict[str | int, Any]) -> Iterator[bool]:
    for inner in tree.values():
        if isinstance(inner, dict):
            yield from _required(inner)
        else:
            yield inner[1]


def _schema(
    hint: _Hint, marks: tuple[object, ...], handler: "GetCoreSchemaHandler", *, every_key: bool
) -> "CoreSchema":
    from pydantic_core import core_schema

    origin: object = typing.get_origin(hint)
    args = typing.get_args(hint)

    def inner(hint: _Hint, more: tuple[object, ...] = ()) -> "CoreSchema":
        hint, marks = _split(hint)
        return _schema(hint, (*marks, *more), handler, every_key=every_key)

    if origin in (typing.Union, types.UnionType) and len(args) == 2 and type(None) in args:
        (other,) = (arg for arg in args if arg is not type(None))
        return core_schema.nullable_schema(inner(other, marks))
    words = next((mark for mark in marks if isinstance(mark, Words)), None)
    schema: CoreSchema
    if words is not None:
        true = words.true
        schema = core_schema.no_info_after_validator_function(
            lambda word: word == true, core_schema.literal_schema([words.false, words.true])
        )
    elif is_dataclass(hint):
        schema = _table_schema(typing.cast(type[Any], hint), handler, every_key=every_key)
    elif origin is tuple and args[-1] is Ellipsis:
        schema = core_schema.tuple_schema([inner(args[0])], variadic_item_index=0)
    elif origin is Mapping or origin is dict:
        schema = core_schema.dict_schema(inner(args[0]), inner(args[1]))
    else:
        known = [mark for mark in marks if not isinstance(mark, Key | Fits | Words | _Mark)]
        schema = handler.generate_schema(Annotated[hint, *known] if known else hint)
    for mark in marks:
        if isinstance(mark, Fits):
            schema = core_schema.no_info_after_validator_function(
                functools.partial(_fitting, mark),
                schema,
                metadata={"pydantic_js_updates": {"description": mark.expected}},
            )
    return schema


def _fitting(mark: Fits, value: object) -> object:
    from pydantic_core import PydanticCustomError

    if not mark.test(value):
        raise PydanticCustomError("unfit", "expected {expected}", {"expected": mark.expected})
    return value


def _made(kind: type[Any], values: Mapping[str, Any]) -> object:
    """The dataclass out of a table whose values all fit. Raises what pydantic collects, with its faults."""
    from pydantic_core import PydanticCustomError

    problems: list[Problem] = []
    made = _built(kind, values, problems)
    for name in file_of(kind).computed:
        if not problems and name in values and values[name] != (expected := getattr(made, name)):
            problems.append(
                Problem(CONTRADICTS, name, f"expected {shown(_plain(expected))}, found {shown(_plain(values[name]))}")
            )
    if problems:
        raise PydanticCustomError("faults", "faults", {"problems": problems})
    return made


def _built(kind: type[Any], values: Mapping[str, Any], problems: list[Problem]) -> object:
    chosen: dict[str, object] = {field.name: "" for field in _fields(kind) if NAME in field.marks}
    for field in _in_file(kind):
        if field.spread:
            chosen[field.name] = _built(field.hint, values, problems)
        elif (value := _taken(values, field.path)) is MISSING:
            continue
        elif field.path[-1] == "*":
            chosen[field.name] = _named({key: value[key] for key in value if key not in _beside(kind, field)})
        else:
            chosen[field.name] = _named(value)
    made = kind(**chosen)
    faults = getattr(made, "faults", None)
    if callable(faults):
        problems += faults()
    return made


def _beside(kind: type[Any], field: _Field) -> set[str | int]:
    """The keys that a table has beside all others of it."""
    depth = len(field.path)
    keys = {other.path[depth - 1] for other in _in_file(kind) if other.path[: depth - 1] == field.path[:-1]}
    of = file_of(kind)
    return keys if depth > 1 else {*keys, *of.computed, *(of.version or ())[:1]}


def _taken(values: _Plain, path: Sequence[str | int]) -> _Plain:
    for part in path:
        if part == "*":
            return values
        if values is None:
            return None
        if isinstance(part, str) and part not in values:
            return MISSING
        values = values[part]
    return values


def _named(value: object) -> object:
    """A table of dataclasses, each told its key where it has a field for it."""
    if not isinstance(value, dict):
        return value
    return {key: replace(inner, **_names(inner, key)) if is_dataclass(inner) else inner for key, inner in value.items()}  # type: ignore[type-var]


def _names(value: object, key: str) -> dict[str, Any]:
    return {field.name: key for field in _fields(type(value)) if NAME in field.marks}


def _dump(value: object, *, every_key: bool) -> dict[str, object]:
    kind = type(value)
    of, table = file_of(kind), dict[str | int, Any]()
    if of.version is not None:
        table[of.version[0]] = of.version[1]
    table |= {name: _plain(getattr(value, name), every_key=every_key) for name in of.computed}

    def place(part: object) -> None:
        for field in _in_file(type(part)):
            inner = getattr(part, field.name)
            if field.spread:
                place(inner)
                continue
            if field.optional and not every_key and inner == field.default:
                continue
            words = next((mark for mark in field.marks if isinstance(mark, Words)), None)
            inside = table
            for step in field.path[:-1]:
                inside = inside.setdefault(step, {})
            plain = _plain(inner, every_key=every_key)
            if field.path[-1] == "*":
                inside |= typing.cast(dict[str | int, Any], plain)
            else:
                inside[field.path[-1]] = plain if words is None else words.true if inner else words.false

    place(value)
    return {str(key): _listed(inner) for key, inner in table.items()}


def _listed(value: _Plain) -> object:
    """Places of a list, which were collected by number, as the list; null where none has a value."""
    if isinstance(value, dict) and value and all(isinstance(key, int) for key in value):
        items = [value[place] for place in sorted(value)]
        return None if all(item is None for item in items) else items
    return value


def _plain(value: object, *, every_key: bool = False) -> object:
    if is_dataclass(value):
        return _dump(value, every_key=every_key)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(inner, every_key=every_key) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, every_key=every_key) for inner in value]
    return value


_EXPECTED: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "finite_number": "a finite number",
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _problems(kind: type[Any], fault: "ErrorDetails") -> Iterator[Problem]:
    """One of pydantic's faults in the house's words."""
    path = [part for part in fault["loc"] if part != "[key]"]
    name, context = fault["type"], fault.get("ctx", {})
    found = f"found {shown(fault['input'])}"
    if name == "faults":
        for problem in context["problems"]:
            yield replace(problem, where=_where((*path, problem.where)))
    elif name == "missing":
        yield Problem("missing", _where(path), "")
    elif name == "extra_forbidden":
        known = _known_keys(kind, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, 1)
        yield Problem(
            "unknown key", _where(path), f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"
        )
    elif name in ("enum", "literal_error", "unfit"):
        yield Problem("wrong value", _where(path), f"expected {context['expected']}, {found}")
    elif name in _BOUNDS:
        key, words = _BOUNDS[name]
        yield Problem("wrong value", _where(path), f"expected {words} {context[key]:g}, {found}")
    elif name in _EXPECTED:
        yield Problem("wrong type", _where(path), f"expected {_EXPECTED[name]}, {found}")
    else:
        yield Problem("wrong value", _where(path), f"{fault['msg']}, {found}")


def _known_keys(kind: type[Any], path: Sequence[str | int]) -> list[str]:
    """The keys of the table at ``path``, by the JSON Schema."""
    schema: Any = json_schema(kind)
    for part in path:
        schema = _not_null(schema)
        if isinstance(part, int):
            places = schema.get("prefixItems")
            schema = places[part] if places else schema.get("items", {})
        else:
            schema = schema.get("properties", {}).get(part) or schema.get("additionalProperties") or {}
    return list(_not_null(schema).get("properties", {}))


def _not_null(schema: _Plain) -> _Plain:
    return next((inner for inner in schema.get("anyOf", ()) if inner.get("type") != "null"), schema)
