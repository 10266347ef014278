"""The ctest10k subset of ImageNet val (Larsson, Maire, Shakhnarovich, ECCV 2016), computed from labels."""

from collections import defaultdict
from collections.abc import Collection, Mapping


def ctest10k(labels: Mapping[int, int], *, excluded: Collection[int], count: int) -> list[int]:
    """Image numbers of the subset, ascending.

    ``labels`` maps every image number of the validation set to its class index (classes sorted by wnid). The images are
    taken round-robin over classes: round r holds the r-th image, by number, of every class. ``excluded``
    numbers are dropped and the last ``count`` kept.
    """
    by_class: defaultdict[int, list[int]] = defaultdict(list)
    for number in sorted(labels):
        by_class[labels[number]].append(number)
    rounds = max(len(numbers) for numbers in by_class.values())
    classes = sorted(by_class)
    dealt = [by_class[c][r] for r in range(rounds) for c in classes if r < len(by_class[c])]
    left_out = frozenset(excluded)
    kept = [number for number in dealt if number not in left_out]
    return sorted(kept[-count:])
