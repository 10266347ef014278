from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palette_bench.common.canonical import lines_digest
from palette_bench.common.errors import InputError
from palette_bench.common.listing import FolderSource
from palette_bench.prepare.selection.ctest10k import ctest10k
from palette_bench.prepare.selection.select import select, select_reference, with_list
from palette_bench.prepare.selection.tfds_order import tfds_order
from palette_bench.prepare.sources.datasets import LabelledSource
from palette_bench.prepare.sources.labels import imagenet_name
from palette_bench.protocol.definition import load_protocol

VAL = [imagenet_name(n) for n in range(1, 50_001)]


def _source(names: list[str], labels: dict[str, int] | None = None) -> LabelledSource:
    return LabelledSource(FolderSource(Path("src"), dict(zip(names, names, strict=True))), labels or {}, Path("labels"))


def test_tfds_order_begins_as_the_released_lists_do() -> None:
    assert tfds_order(VAL)[:3] == [imagenet_name(n) for n in (9670, 36705, 3545)]


def test_coltran_lists_have_the_digests_of_the_released_ones() -> None:
    # Digests of the released evaluation list and of the reference list in public code.
    order = tfds_order(VAL)
    assert lines_digest(order[:5000]) == "7e99904a798fd48b22b8b1238de13c4bb12532f99e08efaa6bbdcae9a64e368f"
    assert lines_digest(order[10000:15000]) == "4bcdef73a37679ace1a2975b8e179980b85856ee5d55eebf4734753cfe0fce87"
    assert lines_digest(sorted(order[:5000])) != lines_digest(order[:5000])


def test_coltran5k_selects_without_any_label_but_checks_labels() -> None:
    protocol = load_protocol("imagenet-coltran5k")
    with pytest.raises(InputError, match="5000 of 5000 images have no label"):
        select(protocol, _source(VAL))
    with pytest.raises(InputError, match="not those of ILSVRC 2012"):
        select(protocol, _source(VAL, dict.fromkeys(VAL, 0)))


@pytest.mark.parametrize(("reference", "start"), [("next5k", 5000), ("tfds10k-15k", 10000)])
def test_coltran_references_are_different_names(reference: str, start: int) -> None:
    names = select_reference(load_protocol("imagenet-coltran5k"), reference, _source(VAL))
    assert names == tfds_order(VAL)[start : start + 5000]


@settings(max_examples=25, deadline=None)
@given(st.integers(70, 4000), st.randoms(use_true_random=False))
def test_tfds_order_is_a_permutation_that_forgets_the_input_order(count: int, random: object) -> None:
    names = [f"image-{i}" for i in range(count)]
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert tfds_order(shuffled) == tfds_order(names)
    assert sorted(tfds_order(names)) == sorted(names)


def test_ctest10k_deals_round_robin_over_classes() -> None:
    labels = {1: 0, 2: 0, 3: 1, 4: 0, 5: 2, 6: 1, 7: 0}
    # Rounds: 1 3 5 | 2 6 | 4 | 7.
    assert ctest10k(labels, excluded=(), count=4) == [2, 4, 6, 7]
    assert ctest10k(labels, excluded=(6,), count=4) == [2, 4, 5, 7]
    assert ctest10k(labels, excluded=(), count=7) == [1, 2, 3, 4, 5, 6, 7]


def test_ctest10k_refuses_wrong_labels_and_names_their_file() -> None:
    labels = {name: i // 50 for i, name in enumerate(VAL)}
    with pytest.raises(InputError, match=r"(?s)not those of ILSVRC 2012.*where: +labels"):
        select(load_protocol("imagenet-ctest10k"), _source(VAL, labels))


def test_ctest10k_says_what_it_needs_without_labels() -> None:
    with pytest.raises(InputError, match="labels of all 50,000 images are needed"):
        select(load_protocol("imagenet-ctest10k"), _source(VAL[:100]))


def test_places10k_takes_the_lowest_numbers_of_every_category() -> None:
    names = [f"Places365_val_{n:08d}.jpg" for n in range(1, 36_501)]
    labels = {name: (i * 7) % 365 for i, name in enumerate(names)}
    items = select(load_protocol("places10k"), _source(names, labels))
    assert len(items) == 10_950
    assert set(Counter(item.label for item in items).values()) == {30}
    assert [item.name for item in items] == sorted(item.name for item in items)
    first = [name for name in names if labels[name] == 11][:30]
    assert [item.name for item in items if item.label == 11] == first


def test_a_missing_image_is_named() -> None:
    order = tfds_order(VAL)
    held = [name for name in VAL if name != order[5003]]
    with pytest.raises(InputError, match=order[5003]):
        select_reference(load_protocol("imagenet-coltran5k"), "next5k", _source(held))


def test_a_list_of_ones_own_changes_name_and_fingerprint(tmp_path: Path) -> None:
    list_file = tmp_path / "list.txt"
    list_file.write_text(f"{VAL[7]}\n{VAL[3]}\n")
    protocol, names = with_list(load_protocol("imagenet-ctest10k"), list_file)
    items = select(protocol, _source(VAL), names)
    assert [item.id for item in items] == ["ILSVRC2012_val_00000008", "ILSVRC2012_val_00000004"]
    assert protocol.set_id.startswith("imagenet-ctest10k+list-")
    assert protocol.fingerprint() != load_protocol("imagenet-ctest10k").fingerprint()
    list_file.write_text(f"{VAL[3]}\n{VAL[7]}\n")
    assert with_list(load_protocol("imagenet-ctest10k"), list_file)[0].fingerprint() != protocol.fingerprint()


def test_ids_that_differ_in_case_alone_are_refused() -> None:
    with pytest.raises(InputError, match=r"duplicate: b/photo.jpg: the same id as b/Photo.png"):
        select(load_protocol("folder"), _source(["a.png", "b/photo.jpg", "b/Photo.png"][::-1]))
