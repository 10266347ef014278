"""Which of the processes of ``torchrun`` this one is, and what they have to agree on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True)
class Rank:
    """One of ``world`` processes; ``device`` is where it computes."""

    number: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.number == 0

    def summed(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return bool(self.summed(torch.tensor([float(flag)], device=self.device)).item() > 0)

    def agrees_on(self, flag: bool) -> bool:
        """The flag of the process that writes; no sums are made where it is the only one."""
        return self.any(flag and self.leads) if self.world > 1 else flag

    def each(self, number: int) -> list[int]:
        """The numbers that all processes have, in the order of their ranks."""
        table = torch.zeros(self.world, dtype=torch.float64, device=self.device)
        table[self.number] = number
        return [int(value) for value in self.summed(table).tolist()]

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[Rank]:
    """Join the processes that ``torchrun`` started; a single process without it."""
    number, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    where = torch.device(device)
    if device == "cuda":
        where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if world == 1:
        yield Rank(0, 1, where)
        return
    if where.type == "cuda":
        torch.cuda.set_device(where)
    distributed.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield Rank(number, world, where)
    finally:
        distributed.destroy_process_group()
