"""Write the golden files again: ``python -m tests.golden.write``, then read what ``git diff tests/golden`` says.

On the processor that they were written on, unchanged code leaves no difference at all, not in the last bit.
"""

import shutil
import tempfile
from pathlib import Path

from tests.golden.cases import World, named

FILES = Path(__file__).parent / "files"


def main() -> None:
    """Write every golden file, and remove those that belong to no case."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        made = {name: make(world) for name, (_, make) in named().items()}
    shutil.rmtree(FILES, ignore_errors=True)
    for name, text in made.items():
        path = FILES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
