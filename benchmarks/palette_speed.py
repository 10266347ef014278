"""Speed of Palette's network against the same network run the way guided-diffusion runs it, in paired rounds.

``python -m benchmarks.palette_speed sampling`` times forward steps of ``palette256`` on one 256x256 image, ``training``
whole training steps (forward, backward, Adam) of ``mini32``. The peer has the same weights, einsum attention, NCHW
tensors, float32 (float16 on a GPU), and its optimiser is AdamW without fused kernels; its outputs are compared with
ours first. ``--guided-diffusion CHECKOUT`` runs the real network of that repository instead of the restatement
(sampling only: it has no 2x2 stem). On a GPU images per second, memory by microbatch and model FLOP utilisation
(share of ``--peak`` TFLOP/s) are printed too.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from palette_bench.common.workers import keep_freed_memory
from palette_bench.predict.models.unet import Attention, Network, preset

Step = Callable[[], object]


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


def peer_of(ours: Network) -> Network:
    """The same weights, run as guided-diffusion runs them."""
    peer = Network(ours.config)
    peer.load_state_dict(ours.state_dict())
    for module in list(peer.modules()):
        attention = getattr(module, "attention", None)
        if isinstance(attention, Attention):
            module.attention = EinsumAttention(attention)
    return peer.to(next(ours.parameters()).device).to(memory_format=torch.contiguous_format)


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


def seconds_of(step: Step, device: torch.device, repeats: int) -> float:
    """Seconds a step: processor time on a CPU, wall time on a GPU."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = clock()
    for _ in range(repeats):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (clock() - began) / repeats


def paired(ours: Step, peer: Step, device: torch.device, rounds: int, repeats: int) -> list[tuple[float, float]]:
    """Seconds of ours and the peer's in turns, after one step each to warm up."""
    ours()
    peer()
    pairs = []
    for number in range(rounds):
        first, second = (ours, peer) if number % 2 == 0 else (peer, ours)
        a, b = seconds_of(first, device, repeats), seconds_of(second, device, repeats)
        pairs.append((a, b) if number % 2 == 0 else (b, a))
    return pairs


def report(name: str, pairs: list[tuple[float, float]]) -> None:
    ratios = sorted(peer / ours for ours, peer in pairs)
    ours = statistics.median(pair[0] for pair in pairs)
    print(
        f"{name}: {statistics.median(ratios):.2f} x guided-diffusion's way "
        f"({ratios[0]:.2f}-{ratios[-1]:.2f} in {len(ratios)} paired rounds; ours {1000 * ours:.1f} ms)",
        flush=True,
    )


def randomised(network: Network, seed: int) -> Network:
    """Zero-initialised layers would hide half of the network from a comparison of outputs."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return network


def sampling(device: torch.device, network: str, batch: int, rounds: int, checkout: Path | None) -> None:
    config = preset(network)
    ours = randomised(Network(config), 0).to(device).to(memory_format=torch.channels_last).eval()
    half = device.type == "cuda"
    peer: nn.Module = real_peer(checkout).to(device).eval() if checkout else peer_of(ours).eval()
    if half:
        peer = peer.half()
    shape = (batch, 3, config.size, config.size)
    condition, noisy = torch.randn(shape, device=device), torch.randn(shape, device=device)
    ours_in = [x.contiguous(memory_format=torch.channels_last) for x in (condition, noisy)]
    gamma = torch.full((batch,), 0.5, device=device)

    @torch.inference_mode()
    def our_step() -> Tensor:
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            out: Tensor = ours(ours_in[0], ours_in[1], gamma)
        return out

    @torch.inference_mode()
    def peer_step() -> Tensor:
        kind = torch.float16 if half else torch.float32
        if checkout:
            out: Tensor = peer(torch.cat([condition, noisy], dim=1).to(kind), gamma * 1000.0)
        else:
            out = peer(condition.to(kind), noisy.to(kind), gamma)
        return out

    if checkout is None:
        difference = (our_step().float() - peer_step().float()).abs().max().item()
        print(f"largest difference of an output: {difference:.1e}", flush=True)
    report(f"{network}, one step of sampling, batch {batch}", paired(our_step, peer_step, device, rounds, 1))


def training(device: torch.device, network: str, batch: int, rounds: int, repeats: int) -> None:
    config = preset(network)
    ours = randomised(Network(config), 0).to(device).to(memory_format=torch.channels_last).train()
    peer = peer_of(ours).train()
    our_optimizer = torch.optim.Adam(
        ours.parameters(), lr=1e-4, fused=device.type == "cuda", foreach=device.type == "cpu"
    )
    peer_optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-4, weight_decay=0.0, foreach=False)
    shape = (batch, 3, config.size, config.size)
    condition, noisy, noise = (torch.randn(shape, device=device) for _ in range(3))
    ours_in = [x.contiguous(memory_format=torch.channels_last) for x in (condition, noisy)]
    gamma = torch.rand(batch, device=device) * 0.9 + 0.05
    half = device.type == "cuda"

    def our_step() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            predicted = ours(ours_in[0], ours_in[1], gamma)
        torch.autograd.backward((predicted.float() - noise).square().mean())
        our_optimizer.step()
        our_optimizer.zero_grad(set_to_none=True)

    def peer_step() -> None:
        with torch.autocast("cuda", torch.float16, enabled=half):
            predicted = peer(condition, noisy, gamma)
        torch.autograd.backward((predicted.float() - noise).square().mean())
        peer_optimizer.step()
        peer_optimizer.zero_grad(set_to_none=True)

    report(f"{network}, one step of training, batch {batch}", paired(our_step, peer_step, device, rounds, repeats))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["sampling", "training"])
    parser.add_argument("--network", help="a preset; by default palette256 for sampling, mini32 for training")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=10, help="training steps a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--guided-diffusion", type=Path, help="a checkout of openai/guided-diffusion")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    if options.part == "sampling":
        network = options.network or "palette256"
        sampling(device, network, options.batch or 1, options.rounds, options.guided_diffusion)
    else:
        training(device, options.network or "mini32", options.batch or 32, options.rounds, options.repeats)


if __name__ == "__main__":
    main()
