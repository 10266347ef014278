"""Speed of Palette's network against the same network run the way guided-diffusion runs it, in paired rounds.

``python -m benchmarks.palette_speed sampling`` times forward steps of ``palette256`` on one 256x256 image, ``training``
whole training steps (forward, backward, optimiser, average) of ``mini32``. Each side lives in a process of its own;
they take turns. The peer has the same weights and what guided-diffusion does with them: einsum attention, NCHW tensors,
norms through float32, AdamW and the average parameter by parameter, the norms of parameters and gradients at every
step, the allocator as it comes, float32 (float16 on a GPU). Outputs are compared first.
``--guided-diffusion CHECKOUT`` samples with the real network of that repository instead.

On a GPU it also prints images a second for 50 and 1000 steps, memory by microbatch, and with ``--peak`` TFLOP/s the
share of them that the model's own arithmetic uses (three forwards a training step, nothing counted twice).
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from palette_bench.common.workers import keep_freed_memory
from palette_bench.predict.models.unet import Attention, Network, preset

Step = Callable[[], object]
EMA = 0.9999
RATE = 1e-4


@dataclass(frozen=True, slots=True)
class Job:
    """What one process times."""

    part: str
    network: str
    batch: int
    threads: int
    device: str
    peer: bool
    checkout: Path | None
    compiled: bool = False

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")


class EinsumAttention(nn.Module):
    """guided-diffusion's legacy attention with the weights of ours."""

    def __init__(self, ours: Attention) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, x: Tensor) -> Tensor:
        ours = self.ours
        n, channels, height, width = x.shape
        mixed = ours.query_key_value(ours.norm(x)).reshape(n * ours.heads, -1, height * width)
        query, key, value = mixed.split(channels // ours.heads, dim=1)
        scale = (channels // ours.heads) ** -0.25
        weight = torch.einsum("bct,bcs->bts", query * scale, key * scale)
        weight = torch.softmax(weight.float(), dim=-1).type(weight.dtype)
        seen = torch.einsum("bts,bcs->bct", weight, value).reshape(n, channels, height, width)
        projected: Tensor = ours.project(seen)
        return x + projected


class FloatNorm(nn.GroupNorm):
    """A norm that goes through float32 and back."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.group_norm(x.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps).type(
            x.dtype
        )


def restated(network: Network) -> Network:
    """The network, run as guided-diffusion runs it."""
    for module in list(network.modules()):
        attention = getattr(module, "attention", None)
        if isinstance(attention, Attention):
            module.attention = EinsumAttention(attention)
        for name, child in list(module.named_children()):
            if type(child) is nn.GroupNorm:
                norm = FloatNorm(child.num_groups, child.num_channels)
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm)
    return network


def real_peer(checkout: Path) -> nn.Module:
    """guided-diffusion's own network with six inputs and three outputs; random weights."""
    sys.path.insert(0, str(checkout))
    from guided_diffusion.unet import UNetModel  # type: ignore[import-not-found]

    peer: nn.Module = UNetModel(
        image_size=256,
        in_channels=6,
        model_channels=256,
        out_channels=3,
        num_res_blocks=2,
        attention_resolutions=(8, 16, 32),
        channel_mult=(1, 1, 2, 2, 4, 4),
        num_head_channels=64,
        use_scale_shift_norm=True,
        resblock_updown=True,
    )
    return peer


def randomised(network: Network) -> Network:
    """The network with numbers in its zeroed layers, which would hide half of it from a comparison of outputs."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return network


def build(job: Job) -> nn.Module:
    """The network of one side, on its device."""
    torch.manual_seed(0)
    if job.peer and job.checkout is not None:
        network: nn.Module = real_peer(job.checkout)
    else:
        ours = randomised(Network(preset(job.network)))
        network = restated(ours) if job.peer else ours.to(memory_format=torch.channels_last)
    return network.to(job.device)


def inputs_of(job: Job) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Condition, noisy image, noise [n, 3, h, w] and gamma [n], the same on both sides."""
    generator = torch.Generator().manual_seed(1)
    size = preset(job.network).size
    images = [torch.randn((job.batch, 3, size, size), generator=generator).to(job.device) for _ in range(3)]
    if not job.peer:
        images = [image.contiguous(memory_format=torch.channels_last) for image in images]
    gamma = (torch.rand(job.batch, generator=generator) * 0.9 + 0.05).to(job.device)
    return images[0], images[1], images[2], gamma


def sampling_step(job: Job) -> Callable[[], Tensor]:
    """One call of the network, nothing else: what a step of any sampler costs."""
    network = build(job).eval()
    condition, noisy, _, gamma = inputs_of(job)
    if job.peer and job.on_gpu:
        network = network.half()
        condition, noisy = condition.half(), noisy.half()

    @torch.inference_mode()
    def step() -> Tensor:
        if job.peer and job.checkout is not None:
            out: Tensor = network(torch.cat([condition, noisy], dim=1), gamma * 1000.0)
        else:
            with torch.autocast("cuda", torch.bfloat16, enabled=job.on_gpu and not job.peer):
                out = network(condition, noisy, gamma)
        return out

    return step


def training_step(job: Job) -> Step:
    """Forward, backward, optimiser and average."""
    network = build(job).train()
    if job.compiled:
        network = torch.compile(network)  # type: ignore[assignment]
    condition, noisy, noise, gamma = inputs_of(job)
    parameters = list(network.parameters())
    average = [parameter.detach().clone() for parameter in parameters]
    kind = torch.float16 if job.peer else torch.bfloat16
    optimizer: torch.optim.Optimizer
    if job.peer:
        optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0)
    else:
        optimizer = torch.optim.Adam(parameters, lr=RATE, fused=True)

    def step() -> None:
        with torch.autocast("cuda", kind, enabled=job.on_gpu):
            predicted = network(condition, noisy, gamma)
        torch.autograd.backward((predicted.float() - noise).square().mean())
        if job.peer:
            for parameter in parameters:
                _ = torch.norm(parameter.detach()).item(), torch.norm(parameter.grad).item()
        optimizer.step()
        with torch.no_grad():
            if job.peer:
                for mean, parameter in zip(average, parameters, strict=True):
                    mean.mul_(EMA).add_(parameter, alpha=1.0 - EMA)
            else:
                torch._foreach_lerp_(average, [*parameters], 1.0 - EMA)
        optimizer.zero_grad(set_to_none=not job.peer)

    return step


def serve(job: Job, pipe: Connection) -> None:
    """Build one side, then run as many steps as asked and answer with the seconds of one."""
    if not job.peer:
        keep_freed_memory()
    torch.set_num_threads(job.threads)
    step: Step = sampling_step(job) if job.part == "sampling" else training_step(job)
    clock = time.perf_counter if job.on_gpu else time.process_time
    first = step()
    pipe.send(first.float().cpu().numpy() if isinstance(first, Tensor) else None)
    while (repeats := pipe.recv()) > 0:
        if job.on_gpu:
            torch.cuda.synchronize()
        began = clock()
        for _ in range(repeats):
            step()
        if job.on_gpu:
            torch.cuda.synchronize()
        memory = torch.cuda.max_memory_allocated() / 2**30 if job.on_gpu else 0.0
        pipe.send(((clock() - began) / repeats, memory))


class Side:
    """One of the two processes."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=serve, args=(job, there), daemon=True)
        self.process.start()
        self.first = self.pipe.recv()

    def seconds(self, repeats: int) -> tuple[float, float]:
        self.pipe.send(repeats)
        seconds, memory = self.pipe.recv()
        return float(seconds), float(memory)

    def stop(self) -> None:
        self.pipe.send(0)
        self.process.join()


def forward_tflop(network: str) -> float:
    """TFLOP of one image forward, twice its multiply-adds."""
    config = preset(network)
    with torch.device("meta"):
        model = Network(config)
        image = torch.empty(1, 3, config.size, config.size)
    with FlopCounterMode(display=False) as counted:
        model(image, image, torch.ones(1, device="meta"))
    return float(counted.get_total_flops()) / 1e12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["sampling", "training"])
    parser.add_argument("--network", help="a preset; by default palette256 for sampling, mini32 for training")
    parser.add_argument("--batch", type=int, help="by default 1 for sampling, 32 for training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, help="steps a round; by default 1 for sampling, 10 for training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="compile our network for training")
    parser.add_argument("--peak", type=float, help="the card's dense bfloat16 TFLOP/s")
    parser.add_argument("--guided-diffusion", type=Path, help="a checkout of openai/guided-diffusion")
    options = parser.parse_args()
    sampling = options.part == "sampling"
    network = options.network or ("palette256" if sampling else "mini32")
    batch, repeats = options.batch or (1 if sampling else 32), options.repeats or (1 if sampling else 10)

    def job(*, peer: bool) -> Job:
        checkout = options.guided_diffusion if peer else None
        compiled = options.compile and not peer
        return Job(options.part, network, batch, options.threads, options.device, peer, checkout, compiled)

    ours, peer = Side(job(peer=False)), Side(job(peer=True))
    if ours.first is not None and options.guided_diffusion is None:
        print(f"largest difference of an output: {abs(ours.first - peer.first).max():.1e}", flush=True)
    pairs = []
    memory = 0.0
    for number in range(options.rounds):
        order = (ours, peer) if number % 2 == 0 else (peer, ours)
        seconds = {id(side): side.seconds(repeats) for side in order}
        pairs.append((seconds[id(ours)][0], seconds[id(peer)][0]))
        memory = seconds[id(ours)][1]
    ratios = sorted(theirs / mine for mine, theirs in pairs)
    mine = statistics.median(pair[0] for pair in pairs)
    print(
        f"{network}, a step of {options.part}, batch {batch}, {options.threads} threads: "
        f"{statistics.median(ratios):.2f} x guided-diffusion's way "
        f"({ratios[0]:.2f}-{ratios[-1]:.2f} in {len(ratios)} paired rounds)"
    )
    if options.device.startswith("cuda"):
        print(f"{batch / mine:.2f} images/s a step, {memory:.1f} GiB at the most")
        if sampling:
            print(f"{batch / mine / 50:.3f} images/s of 50 steps, {batch / mine / 1000:.4f} of 1000")
        if options.peak:
            rate = forward_tflop(network) * (1 if sampling else 3) * batch / mine
            print(f"{rate:.0f} TFLOP/s of the model's own arithmetic, {100 * rate / options.peak:.0f} % of the peak")
    ours.stop()
    peer.stop()


if __name__ == "__main__":
    main()
