"""Networks with their weights: `load` checks the weights of one.

The network itself is built when it is first needed: neither torch nor ONNX Runtime is imported before, because scoring
from kept features needs neither.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError, UsageError
from palette_bench.score.backbones import scenes32_weights, weights
from palette_bench.score.backbones.base import BFLOAT16, BackboneSpec, Backend, Network, spec_named

CPU = "cpu"


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the network of a backbone is to be built: from the file at ``path``, None for the shipped one."""

    path: Path | None
    device: str
    backend: Backend
    bfloat16: bool


class LoadedBackbone:
    """A `Backbone` whose weights are checked and whose network is built at the first `extract`, or by `prepare`.

    ``weights_sha256`` is the digest of the weights it runs on; ``canonical`` is False if they are not the published
    ones: what is computed is then comparable with nothing. ``backend`` is what runs it, never ``AUTO``.
    """

    def __init__(self, spec: BackboneSpec, plan: _Plan, *, weights_sha256: str, canonical: bool) -> None:
        self.spec = spec
        self.weights_sha256 = weights_sha256
        self.canonical = canonical
        self._plan = plan
        self._lock = threading.Lock()
        self._network: Network | None = None

    @property
    def name(self) -> str:
        """The name in `SPECS`."""
        return self.spec.name

    @property
    def outputs(self) -> Mapping[str, int]:
        """Width of each output."""
        return self.spec.outputs

    @property
    def fingerprint(self) -> str:
        """sha256 over the spec and the digest of these weights."""
        return self.spec.fingerprint(self.weights_sha256)

    @property
    def backend(self) -> Backend:
        """What runs the network: ``TORCH`` or ``ONNX``."""
        return self._plan.backend

    def prepare(self) -> None:
        """Build the network now, if it is not built: seconds, and the import of torch.

        Raises InputError if the file holds no weights of this network.
        """
        self._built()

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Images [N, H, W, 3] uint8 RGB, N >= 1, to one [N, width] float32 array an output.

        Threads may call it at the same time. Raises InputError as `prepare`, and if the network computes a number
        that is not finite: that is never passed on.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or images.size == 0:
            raise InputError(
                f"images that {self.name} cannot take",
                expected="uint8 RGB [N, H, W, 3]",
                found=f"{images.dtype} {list(images.shape)}",
            )
        values = self._built().extract(images)
        for output, width in self.outputs.items():
            if values[output].shape != (len(images), width) or values[output].dtype != np.float32:
                raise ValueError(
                    f"{self.name}.{output}: {values[output].dtype} {values[output].shape}, expected float32 "
                    f"{(len(images), width)}"
                )
            if not np.isfinite(values[output]).all():
                raise InputError(
                    f"{self.name} computed numbers that are not finite",
                    where=f"output {output}",
                    found=f"weights of sha256 {self.weights_sha256}",
                    next_step="use the published weights",
                )
        return {output: values[output] for output in self.outputs}

    def _built(self) -> Network:
        with self._lock:
            if self._network is None:
                self._network = _build(self.spec, self._plan)
            return self._network


def load(
    name: str,
    *,
    device: str = CPU,
    allow_other_weights: bool = False,
    backend: Backend = Backend.AUTO,
    bfloat16: bool = False,
) -> LoadedBackbone:
    """The backbone called ``name`` on ``device`` (a torch device string), its weights checked, its network not built.

    Raises UsageError for an unknown name, a device that is not there or a ``backend`` that cannot run there,
    InputError if the weights file is missing or not the published one (unless ``allow_other_weights``).
    """
    spec = spec_named(name)
    if device != CPU:
        # Better told now than after the images were read; who asks for a device pays for torch's import.
        from palette_bench.score.backbones.torch_common import torch_device

        torch_device(device)
    chosen = _chosen(backend, device=device, bfloat16=bfloat16)
    if spec.weights is None:
        if bfloat16:
            raise UsageError(f"{spec.name} is computed in float32 only", found=BFLOAT16)
        scenes32_weights.read_weights()
        # The network is so small that PyTorch always runs it.
        plan = _Plan(None, device, Backend.TORCH, bfloat16)
        return LoadedBackbone(spec, plan, weights_sha256=scenes32_weights.WEIGHTS_SHA256, canonical=True)
    located = weights.locate(spec.weights, allow_other=allow_other_weights)
    plan = _Plan(located.path, device, chosen, bfloat16)
    if bfloat16:
        spec = spec.in_bfloat16()
    return LoadedBackbone(spec, plan, weights_sha256=located.sha256, canonical=located.canonical)


def onnx_available() -> bool:
    """Whether the extra ``palette-bench[onnx]`` is installed; nothing is imported."""
    return find_spec("onnxruntime") is not None and find_spec("onnx") is not None


def _chosen(backend: Backend, *, device: str, bfloat16: bool) -> Backend:
    """The backend that really runs."""
    if backend is Backend.AUTO:
        return Backend.ONNX if device == CPU and not bfloat16 and onnx_available() else Backend.TORCH
    if backend is Backend.ONNX:
        if device != CPU or bfloat16:
            raise UsageError(
                "ONNX Runtime runs networks on the CPU in float32 only",
                found=f"device {device}" + (", bfloat16" if bfloat16 else ""),
                next_step="leave the backend out",
            )
        if not onnx_available():
            raise UsageError(
                "ONNX Runtime is not installed",
                expected="the modules onnx and onnxruntime",
                next_step="pip install 'palette-bench[onnx]', or leave the backend out",
            )
    return backend


def _build(spec: BackboneSpec, plan: _Plan) -> Network:
    """The network of ``spec``; imports torch."""
    from palette_bench.score.backbones import building

    return building.build(spec.name, plan.path, device=plan.device, backend=plan.backend, bfloat16=plan.bfloat16)
