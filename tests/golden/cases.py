"""What is frozen: the outputs of commands, each under the name of a file below ``files/``.

Everything is made by the program as a user calls it and read from the files that it leaves, so that no golden depends
on where the code stands. Two kinds: what rests on shipped files alone is equal byte for byte; what networks compute
anew is equal but for their rounding (``compare.py``). Masked is what belongs to the machine and not to the number:
``MASKED`` keys, folders, and the version of the program.
"""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from palette_bench.cli.main import program
from palette_bench.common.version import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDS = REPOSITORY / "leaderboards" / "scenes32" / "records"
PAPER_TABLES = ("1", "2", "3", "4", "5", "6", "C.1", "C.2", "C.3", "C.4")
MINIATURE_TABLES = ("1", "2", "3", "4", "5", "6", "C.1")
FORMATS = ("rich", "md", "latex", "csv", "json", "html")
MASKED = frozenset({"environment", "software", "palette-bench", "folder", "page", "bytes", "seal", "items_sha256"})
"""Keys of JSON that say what a machine has, where files lie, or digest numbers that networks rounded."""
ROUNDED_COLUMNS = frozenset({"fid-scenes32_influence", "confidence", "pd-scenes32", "psnr", "ssim"})

Make = Callable[["World"], str]


class World:
    """A home with scenes32, predictions of two classical methods of uncrop, and their scores; made when first used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: object, code: int = 0) -> str:
        """Standard output of a command, with folders and the version masked."""
        environment = {"PALETTE_BENCH_HOME": str(self.folder / "home"), "COLUMNS": "120", "NO_COLOR": "1"}
        result = CliRunner().invoke(program, [str(argument) for argument in arguments], env=environment)
        if result.exit_code != code:
            raise AssertionError(f"palette-bench {arguments}: {result.output}") from result.exception
        return self.masked(result.stdout)

    def masked(self, text: str) -> str:
        """``text`` without this machine's folders and the program's version."""
        text = text.replace(str(self.folder), "WORLD").replace(str(REPOSITORY), "REPOSITORY")
        return re.sub(rf"(v:|palette-bench[ _]){re.escape(__version__)}", r"\1VERSION", text)

    def home(self) -> None:
        """Prepare scenes32."""
        if not (self.folder / "home" / "sets" / "scenes32").exists():
            self.run("prepare", "scenes32", "--jobs", 1, "--json")

    def predictions(self, method: str) -> Path:
        """The predictions of a classical method."""
        self.home()
        folder = self.folder / "preds" / method
        if not (folder / "predictions.json").exists():
            command = ["predict", "--set", "scenes32", "--task", "uncrop", "--model", f"classical-{method}"]
            self.run(*command, "--out", folder, "--jobs", 1, "--json")
        return folder

    def score(self, method: str) -> Path:
        """The score of a classical method."""
        folder = self.folder / "results" / method
        if not (folder / "result.json").exists():
            command = ["score", "--set", "scenes32", "--task", "uncrop", "--preds", self.predictions(method)]
            self.run(*command, "--out", folder, "--jobs", 1, "--json")
        return folder


def hidden(value: object) -> object:
    """JSON without what belongs to the machine."""
    if isinstance(value, dict):
        return {key: "MASKED" if key in MASKED else hidden(item) for key, item in value.items()}
    return [hidden(item) for item in value] if isinstance(value, list) else value


def _json(text: str) -> str:
    return json.dumps(hidden(json.loads(text)), indent=1, ensure_ascii=False) + "\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _table(*arguments: str) -> Make:
    def make(world: World) -> str:
        text = world.run("table", *arguments)
        return _json(text) if "json" in arguments else text

    return make


def _output(*arguments: str) -> Make:
    def make(world: World) -> str:
        world.home()
        text = world.run(*arguments)
        return _json(text) if "--json" in arguments else text

    return make


def _shipped(world: World) -> str:
    """Every record that is shipped, its seal checked by the program, and its file by its digest."""
    checked = json.loads(world.run("leaderboard", "check", RECORDS.parents[1], "--json"))
    found = {}
    for name in checked["records"]:
        path = RECORDS.parents[1] / name
        record = json.loads(path.read_text())
        found[name] = {
            "file": _sha256(path.read_bytes()),
            "result_id": record["result_id"],
            "seal": record["seal"],
            "metrics": {
                recipe: [metric["fingerprint"], metric["signature"]] for recipe, metric in record["metrics"].items()
            },
        }
    return json.dumps(found, indent=1) + "\n"


def _shipped_files(_: World) -> str:
    """Digests of every card, protocol and published table."""
    patterns = (
        "baselines/*/card.toml",
        "protocols/*.toml",
        "leaderboards/paper/*.toml",
        "leaderboards/scenes32/*.toml",
    )
    paths = sorted(path for pattern in patterns for path in REPOSITORY.glob(pattern))
    return "".join(f"{_sha256(path.read_bytes())}  {path.relative_to(REPOSITORY).as_posix()}\n" for path in paths)


def _set(world: World) -> str:
    """What names a prepared set in its own file, with the digests of its tasks' conditions."""
    world.home()
    (path,) = (world.folder / "home" / "sets").glob("scenes32/set.json")
    return _json(path.read_text())


def _verified(world: World) -> str:
    world.home()
    return _json(world.run("verify", "scenes32", "--jobs", 1, "--json"))


def _predictions(world: World) -> str:
    return _json((world.predictions("tile") / "predictions.json").read_text())


def _score(world: World) -> str:
    return _json((world.score("tile") / "result.json").read_text())


def _items(world: World) -> str:
    """Of items.csv: the digest of a column that no network rounds; of any other its mean square and first number."""
    with (world.score("tile") / "items.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    found: dict[str, object] = {"count": len(rows)}
    for name, cells in zip(header, zip(*rows, strict=True), strict=True):
        if name in ROUNDED_COLUMNS:
            values = np.array(cells, np.float64)
            found[name] = {"mean_square": float(np.square(values).mean()), "first": float(cells[0])}
        else:
            found[name] = _sha256("\n".join(cells).encode())
    return json.dumps(found, indent=1) + "\n"


def _compare(world: World) -> str:
    return _json(world.run("compare", world.score("tile"), world.score("mirror"), "--json"))


def _report(world: World) -> str:
    """The page without style and script, its items as the mean squares of their columns; every sheet by its pixels."""
    folder = world.folder / "report"
    if not folder.exists():
        command = ["report", world.score("tile"), "--preds", world.predictions("tile"), "--out", folder]
        world.run(*command, "--jobs", 1, "--json")
    page = (folder / "index.html").read_text()
    body, rest = page[page.index("<header>") :].split('<script type="application/json" id="report-data">')
    data = json.loads(rest.split("</script>")[0])
    for column in data["columns"]:
        present = [value for value in column["values"] if value is not None]
        column["values"] = float(np.square(present).mean())
    short = {
        key: value if len(text := json.dumps(value)) < 4000 else _sha256(text.encode()) for key, value in data.items()
    }
    # Versions of the libraries stand in the provenance.
    body = re.sub(r"(Environment of the score).*?</details>", r"\1 MASKED</details>", body, flags=re.DOTALL)
    sheets = {}
    for path in sorted((folder / "sheets").glob("*.png")):
        with Image.open(path) as image:
            sheets[path.name] = [*image.size, _sha256(image.convert("RGB").tobytes())]
    shown = {"body": world.masked(body).replace("><", ">\n<").splitlines(), "data": short, "sheets": sheets}
    return json.dumps(shown, indent=1, ensure_ascii=False) + "\n"


def cases() -> Iterator[tuple[str, bool, Make]]:
    """Name of the golden file, whether networks round in it, and what makes it."""
    for number in PAPER_TABLES:
        for form in FORMATS:
            yield f"tables/{number}.{form}", False, _table(number, "--format", form)
        yield f"tables/{number}-later.md", False, _table(number, "--later", "--format", "md")
    for number in MINIATURE_TABLES:
        for form in FORMATS:
            yield f"tables/scenes32-{number}.{form}", False, _table(number, "--set", "scenes32", "--format", form)
    # A record of another processor may be a rounding ahead of its twin in the table: one that is shipped is given.
    given = str(RECORDS / "uncrop" / "classical-tile.json")
    for form in FORMATS:
        command = ["3", "--set", "scenes32", "--format", form, given]
        yield f"tables/scenes32-3-with-record.{form}", False, _table(*command)
    yield "tables/list.txt", False, _output("table")
    yield "tables/list.json", False, _output("table", "--json")
    yield "recipes.txt", False, _output("recipes")
    yield "recipes.json", False, _output("recipes", "--json")
    yield "baselines.json", False, _output("baselines", "--json")
    yield "sets.json", False, _output("sets", "--json")
    yield (
        "leaderboard.txt",
        False,
        _output("leaderboard", "build", "--check", "--leaderboards", str(RECORDS.parents[1])),
    )
    yield "shipped-records.json", False, _shipped
    yield "shipped-files.txt", False, _shipped_files
    yield "set.json", False, _set
    yield "verify.json", False, _verified
    yield "predictions.json", False, _predictions
    yield "score.json", True, _score
    yield "items.json", True, _items
    yield "compare.json", True, _compare
    yield "calibrate.json", True, _output("calibrate", "--set", "scenes32", "--jobs", "1", "--json")
    yield "report.json", True, _report


def named(names: Sequence[str] = ()) -> dict[str, tuple[bool, Make]]:
    """The cases by name."""
    return {name: (rounded, make) for name, rounded, make in cases() if not names or name in names}
