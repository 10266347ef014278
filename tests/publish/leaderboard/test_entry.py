"""Entries: names, addresses, which images are shown, and a file that is read back or refused."""

import gzip
import json
from collections import Counter

import pytest

from palette_bench.publish.leaderboard.entry import (
    AUDIT_IMAGES,
    MOST_ITEMS_BYTES,
    AuditImage,
    Entry,
    ModelFacts,
    Tier,
    Verification,
    audit_file,
    audited,
    is_link,
    is_slug,
    name_faults,
    packed,
    parse_entry,
    same_name,
    slug_of,
    unpacked,
)

IDS = [f"scene-{number:05d}" for number in range(500)]


def an(**values: object) -> Entry:
    fields: dict[str, object] = {
        "name": "My model",
        "description": "",
        "set_id": "scenes32",
        "task": "uncrop",
        "result_id": "a" * 64,
        "tree_sha256": "b" * 64,
        "model": ModelFacts(title="", licence="", citation="", url="", training_data="none"),
        "audit": (AuditImage(item=3, file=audit_file(3), pixels_sha256="c" * 64),),
        "files": {"result.json": "d" * 64},
    }
    return Entry(**{**fields, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "slug"),
    [("My model", "my-model"), ("Ünï  (v2.1)", "uni-v2-1"), ("<b>x</b>", "b-x-b"), ("../../etc", "etc"), ("日本", "")],
)
def test_a_folder_is_named_by_plain_letters(name: str, slug: str) -> None:
    assert slug_of(name) == slug
    assert is_slug(slug) is bool(slug)


@pytest.mark.parametrize("name", ["..", "a/b", "A", "a--b", ".a", "a\n", ""])
def test_other_names_are_no_folder_of_an_entry(name: str) -> None:
    assert not is_slug(name)


@pytest.mark.parametrize("name", ["", " a", "a  b", "a\nb", "a\u202eb", "e\u0301 model", "x" * 81, "日本"])
def test_names_that_cannot_be_shown_are_refused(name: str) -> None:
    assert name_faults(name)


@pytest.mark.parametrize("name", ["My model", "<script>alert(1)</script>", "é model", "x" * 80, "a 日本"])
def test_names_that_can_be_shown_are_kept(name: str) -> None:
    assert name_faults(name) == []


def test_names_that_look_alike_are_the_same() -> None:
    assert same_name("My  MODEL") == same_name("my model") == same_name("ｍy model")
    assert same_name("my model 2") != same_name("my model")


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "file:///etc/passwd", "//a.b", "https:", "https://a b", "http://[", "data:text/html,x"],
)
def test_only_web_addresses_are_linked(url: str) -> None:
    assert not is_link(url)
    assert is_link("https://example.org/a?b=<c>")


def test_the_shown_images_follow_from_the_digest_alone() -> None:
    shown = audited("a" * 64, IDS)
    assert shown == audited("a" * 64, IDS) == tuple(sorted(set(shown)))
    assert len(shown) == AUDIT_IMAGES
    assert shown != audited("b" * 64, IDS)
    assert audited("a" * 64, IDS[:3]) == (0, 1, 2)


def test_every_image_is_shown_for_some_digest() -> None:
    counts = Counter(item for number in range(1000) for item in audited(f"{number:064x}", IDS[:80]))
    assert len(counts) == 80
    # A hundred of a thousand are expected of each, with a deviation of 9.5.
    assert min(counts.values()) > 60
    assert max(counts.values()) < 140


def test_items_are_packed_the_same_every_time_and_read_back() -> None:
    assert packed(b"a,b\n" * 100) == packed(b"a,b\n" * 100)
    assert unpacked(packed(b"a,b\n")) == b"a,b\n"


@pytest.mark.parametrize("data", [b"a,b\n", packed(b"a,b\n" * 99)[:-9], packed(b"abc" * 99)[:12] + b"\xff" * 20])
def test_what_is_no_gzip_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="gzip"):
        unpacked(data)


def test_a_small_file_cannot_unpack_without_end() -> None:
    with pytest.raises(ValueError, match="when unpacked"):
        unpacked(gzip.compress(bytes(MOST_ITEMS_BYTES + 1), compresslevel=1))


@pytest.mark.parametrize(
    "entry",
    [an(), an(verification=Verification(tier=Tier.RERUN, result_id="e" * 64, differences={"fid-scenes32": -0.001}))],
)
def test_an_entry_is_read_back(entry: Entry) -> None:
    read, faults = parse_entry(json.dumps(entry.sealed()).encode())
    assert (read, faults) == (entry, [])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "a\u202eb"),
        ("name", 3),
        ("tier", "rerun"),
        ("result_id", "a" * 63),
        ("audit", [{"item": 3, "file": "../../3.png", "pixels_sha256": "c" * 64}]),
        ("files", {"result.json": "nothing"}),
        ("model", {"title": ""}),
        ("verification", {"tier": "published", "result_id": "a" * 64, "differences": {}}),
        ("surprise", 1),
    ],
)
def test_an_entry_with_a_wrong_value_is_refused_even_under_a_seal(key: str, value: object) -> None:
    from palette_bench.common.canonical import fingerprint

    body = {name: kept for name, kept in an().sealed().items() if name != "seal"} | {key: value}
    read, faults = parse_entry(json.dumps({**body, "seal": fingerprint(body)}).encode())
    assert read is None
    assert faults
    assert all(not fault.altered for fault in faults)
    assert any(key in fault.problem.where for fault in faults)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"format": 2}', b'{"format": 1, "x": NaN}', b"[" * 100_000, b"\xff\xfe"]
)
def test_what_is_no_entry_is_refused(data: bytes) -> None:
    read, faults = parse_entry(data)
    assert read is None
    assert len(faults) == 1


def test_a_changed_entry_breaks_its_seal() -> None:
    data = json.dumps(an().sealed()).replace("My model", "My modem").encode()
    _, faults = parse_entry(data)
    assert [(fault.problem.kind, fault.altered) for fault in faults] == [("changed", True)]
