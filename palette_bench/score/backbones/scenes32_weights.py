"""The weights file that ships with the package, and its digest; needs no torch."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from palette_bench.common.canonical import bytes_digest
from palette_bench.common.errors import InputError

WEIGHTS_FILE = "scenes32-classifier.safetensors"
WEIGHTS_SHA256 = "b165ea36bd6214bfb780b495515f5c0d425f3cc8d69b20a3117292c5448587a8"
"""sha256 of the shipped weights file. Changes together with ``WORLD_VERSION`` or with the recipe of the training."""


def weights_path() -> Traversable:
    """The weights file that ships with the package."""
    return resources.files(__package__).joinpath(WEIGHTS_FILE)


def read_weights(path: Path | None = None) -> bytes:
    """The bytes of the shipped file, or of a copy of it at ``path``.

    Raises InputError if the file cannot be read or is not, byte for byte, the one whose digest is ``WEIGHTS_SHA256``.
    """
    source = weights_path() if path is None else path
    try:
        data = source.read_bytes()
    except OSError as error:
        raise InputError("a weights file cannot be read", where=source, found=error.strerror or error) from error
    if (found := bytes_digest(data)) != WEIGHTS_SHA256:
        raise InputError(
            "these are not the weights of scenes32",
            where=source,
            expected=f"sha256 {WEIGHTS_SHA256}",
            found=f"sha256 {found}",
            next_step="install the package again, or leave the path out",
        )
    return data
