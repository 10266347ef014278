"""Networks run by ONNX Runtime on the CPU: the folded network, exported once in memory when it is built.

The fastest way on a CPU by far, at the same float32 (docs/scoring.md). Needs the extra ``palette-bench[onnx]``.
"""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from palette_bench.score.backbones.torch_common import Trunk

_OPSET = 17
_CPU = torch.device("cpu")


class OnnxNetwork:
    """A `Trunk` run by ONNX Runtime; a `palette_bench.score.backbones.base.Network`.

    The session computes on the thread that calls it: callers bring their own threads, one a core.
    """

    def __init__(self, trunk: Trunk) -> None:
        self._to_input = trunk.to_input
        self._outputs = trunk.outputs
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        with tempfile.TemporaryDirectory(prefix="palette-bench-") as folder:
            path = Path(folder) / "network.onnx"
            export(trunk, path)
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Images [N, H, W, 3] uint8 of any size to one [N, width] float32 array an output.

        A row is the same in every bit whatever batch its image is in.
        """
        values: dict[str, list[NDArray[np.float32]]] = {name: [] for name in self._outputs}
        for index in range(len(images)):
            with torch.inference_mode():
                inputs = self._to_input(images[index : index + 1], _CPU).contiguous().numpy()
            # SCORE: one image at a time, which is as fast as many and cannot depend on the others.
            computed = self._session.run(list(values), {"images": inputs})
            for name, value in zip(values, computed, strict=True):
                values[name].append(value)
        return {name: np.concatenate(rows) for name, rows in values.items()}


def export(trunk: Trunk, path: Path) -> None:
    """Write ``trunk``'s module with its weights to ``path`` as an ONNX graph; batch, height and width are free."""
    module = trunk.module.eval().requires_grad_(False)
    example = trunk.to_input(np.zeros((2, 256, 256, 3), np.uint8), _CPU).contiguous()
    with warnings.catch_warnings():
        # The exporter warns of its own age and of shapes that are constants; what it exports is tested.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            path,
            dynamo=False,
            opset_version=_OPSET,
            input_names=["images"],
            output_names=list(trunk.outputs),
            dynamic_axes={"images": {0: "n", 2: "h", 3: "w"}, **{name: {0: "n"} for name in trunk.outputs}},
        )
