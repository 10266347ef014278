"""The processes of one torchrun: each does a part, and the first does what is left.

Only small Python objects travel between ranks, by gloo, on GPUs too; features go through the feature store, which ranks
of one machine share. What the first rank does not find there it computes itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from palette_bench.common.parts import WHOLE, Part, rank_of_this_process

PATIENCE = timedelta(days=7)
"""How long a rank waits for the slowest."""

PART_CHUNK = 64
"""Consecutive items that stay together, so that batches are the same however many parts there are."""

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among ``part.count``; ``local`` is its place on this machine."""

    part: Part = WHOLE
    local: int = 0
    local_count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the result."""
        return self.part.number == 1

    @contextmanager
    def joined(self) -> Iterator[None]:
        """The block in which ranks talk to each other; nothing for a process alone."""
        if self.part.whole:
            yield
            return
        import torch.distributed as dist

        dist.init_process_group("gloo", timeout=PATIENCE)
        try:
            yield
        finally:
            dist.destroy_process_group()

    def gathered(self, value: _Value) -> list[_Value]:
        """Everybody's ``value``, in the order of ranks."""
        if self.part.whole:
            return [value]
        import torch.distributed as dist

        values: list[_Value | None] = [None] * self.part.count
        dist.all_gather_object(values, value)
        return [value for value in values if value is not None]

    def wait(self) -> None:
        """Until every rank has come here."""
        if not self.part.whole:
            import torch.distributed as dist

            dist.barrier()


def of_this_process() -> Ranks:
    """What torchrun says of this process in its environment; a process alone without it."""
    rank = rank_of_this_process()
    return Ranks(rank.part, rank.local, rank.local_count)
