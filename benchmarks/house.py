"""The plan of the code in figures: lines per room, who names a metric, who checks types by hand, import circles.

Run it with any Python from 3.11: ``python benchmarks/house.py [CHECKOUT]``; it needs nothing but the standard library,
and reads any state of the repository. Exit code 1 if an import circle is left.

- *lines*: of ``.py`` files, and of scripts, styles and templates, as ``wc -l`` counts them.
- *names a metric*: a module outside ``score/recipes`` and ``score/metrics`` that speaks of one kind of metric, as
  ``Metric.FRECHET`` or ``FRECHET``, or that writes the name of a recipe as a text.
- *checks types by hand*: a module that tells a truth value from a number (``isinstance(value, bool)``), which is what
  whoever reads JSON or TOML without a schema has to do.
- *circles*: groups of modules that import each other, imports inside of functions included, those for a type checker
  not.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

KINDS = frozenset(
    ("FRECHET", "INCEPTION_SCORE", "ACCURACY", "PERCEPTUAL", "KERNEL", "NEIGHBOURS", "SIMILARITY", "DIVERSITY")
)
TEXTS = (".js", ".css", ".html", ".jinja")
METRICS = ("score/recipes", "score/metrics")


def modules(package: Path) -> dict[str, ast.Module]:
    """Every module of a package by its path, as ``score/gate.py``."""
    return {
        path.relative_to(package).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(package.rglob("*.py"))
    }


def lines_of_rooms(package: Path) -> Counter[str]:
    """Lines by room, the first folder below the package; modules beside the rooms are ``.``."""
    rooms: Counter[str] = Counter()
    for path in package.rglob("*"):
        if path.suffix == ".py" or path.name.endswith(TEXTS):
            parts = path.relative_to(package).parts
            rooms[parts[0] if len(parts) > 1 else "."] += path.read_bytes().count(b"\n")
    return rooms


def recipe_names(trees: Mapping[str, ast.Module]) -> frozenset[str]:
    """The names that recipes are defined by: ``name="..."`` in the modules of recipes."""
    return frozenset(
        keyword.value.value
        for name, tree in trees.items()
        if name.startswith("score/recipes")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    )


def naming_a_metric(trees: Mapping[str, ast.Module]) -> list[str]:
    """Modules that decide by the name of a metric or of a recipe."""
    recipes = recipe_names(trees)
    found = []
    for name, tree in trees.items():
        if name.startswith(METRICS):
            continue
        for node in ast.walk(tree):
            called = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if called in KINDS or (isinstance(node, ast.Constant) and node.value in recipes):
                found.append(name)
                break
    return found


def checking_types(trees: Mapping[str, ast.Module]) -> list[str]:
    """Modules that tell a truth value from a number."""
    return [
        name
        for name, tree in trees.items()
        if any(
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "isinstance"
            and len(node.args) == 2
            and isinstance(node.args[1], ast.Name)
            and node.args[1].id == "bool"
            for node in ast.walk(tree)
        )
    ]


def _imports(tree: ast.AST) -> Iterator[str]:
    """Full names of what is imported, by modules and functions; blocks for a type checker are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from _imports(node)


def circles(package: Path, trees: Mapping[str, ast.Module]) -> list[list[str]]:
    """Groups of modules each of which leads to all others of its group (Tarjan's strongly connected components)."""
    dotted = {f"{package.name}.{name.removesuffix('.py').replace('/', '.')}": name for name in trees}
    dotted = {key.removesuffix(".__init__"): name for key, name in dotted.items()}
    arrows: dict[str, set[str]] = {}
    for key, name in dotted.items():
        targets = set()
        for imported in _imports(trees[name]):
            target = imported if imported in dotted else imported.rpartition(".")[0]
            if target in dotted and target != key:
                targets.add(target)
        arrows[key] = targets
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(key: str) -> None:
        index[key] = low[key] = len(index)
        stack.append(key)
        for target in sorted(arrows[key]):
            if target not in index:
                visit(target)
                low[key] = min(low[key], low[target])
            elif target in stack:
                low[key] = min(low[key], index[target])
        if low[key] == index[key]:
            at = stack.index(key)
            groups.append(sorted(dotted[member] for member in stack[at:]))
            del stack[at:]

    for key in sorted(arrows):
        if key not in index:
            visit(key)
    return [group for group in groups if len(group) > 1]


def main() -> int:
    """Print the figures of a checkout."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    package = root / "palette_bench"
    trees = modules(package)
    rooms = lines_of_rooms(package)
    for room, lines in sorted(rooms.items()):
        print(f"{room:12} {lines:6}")
    print(f"{'all':12} {sum(rooms.values()):6} lines in {len(trees)} modules")
    found = circles(package, trees)
    for what, names in (("name a metric", naming_a_metric(trees)), ("check types by hand", checking_types(trees))):
        print(f"modules that {what}: {len(names)}")
        print("".join(f"  {name}\n" for name in names), end="")
    print(f"import circles: {len(found)}")
    print("".join(f"  {', '.join(group)}\n" for group in found), end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
