"""``palette-bench leaderboard``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json, jobs

if TYPE_CHECKING:
    from palette_bench.publish.leaderboard.check import CheckedEntry, CheckedTree
    from palette_bench.publish.leaderboard.verify import Verified

FOLDER = Path("leaderboards")


@click.group(
    epilog="""\b
Examples:
  palette-bench leaderboard check
  palette-bench leaderboard build
  palette-bench leaderboard export-hf leaderboards/scenes32/entries/uncrop/my-model --dataset me/scenes32"""
)
def command() -> None:
    """Check the entries of leaderboards, and build their pages."""


@command.command(
    epilog="""\b
Examples:
  palette-bench leaderboard check
  palette-bench leaderboard check --submitted leaderboards/scenes32/entries/uncrop/my-model
  palette-bench leaderboard check ENTRY --rescore predictions/ --grant
  palette-bench leaderboard check ENTRY --rerun their/card.toml --grant"""
)
@click.argument("paths", nargs=-1, type=ANY_PATH, metavar="[PATH]...")
@click.option("--submitted", is_flag=True, help="The entries come from their authors: no tier above scored.")
@click.option("--rescore", type=ANY_PATH, metavar="PREDS", help="Score the author's predictions again, and compare.")
@click.option("--rerun", metavar="CARD", help="Run the model of a card again, score what it makes, and compare.")
@click.option("--grant", is_flag=True, help="Write the tier into the entry when the numbers hold.")
@click.option("--device", default="cpu", show_default=True, help="What --rescore and --rerun score on.")
@jobs
@as_json
def check(
    paths: tuple[Path, ...],
    *,
    submitted: bool,
    rescore: Path | None,
    rerun: str | None,
    grant: bool,
    device: str,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Check entries: files, fingerprints, counts, audit images, duplicates, and whether their items give the numbers.

    PATH is an entry or a folder with entries; by default the leaderboards folder here. Everything that is wrong is
    listed. Exit code 4 where something was changed or contradicts itself, 3 where it cannot be used.
    """
    from palette_bench.common.errors import UsageError
    from palette_bench.publish.leaderboard.check import check_tree

    if rescore is None and rerun is None:
        if grant:
            raise UsageError("nothing was verified", expected="--grant with --rescore or --rerun")
        tree = check_tree(paths or (FOLDER,), submitted=submitted)
        tree.demand(paths or (FOLDER,))
        if as_json:
            console.print_json(_tree_json(tree))
        else:
            _print_tree(tree)
        return
    if len(paths) != 1 or (rescore is None) == (rerun is None):
        raise UsageError(
            "one entry is verified at a time, in one way",
            expected="PATH --rescore PREDS, or PATH --rerun CARD",
        )
    from palette_bench.common import schema
    from palette_bench.common.workers import default_jobs
    from palette_bench.publish.leaderboard.verify import Source, verify

    source = Source(preds=rescore, model=rerun, jobs=jobs or default_jobs(), device=device)
    found = verify(paths[0], source, grant=grant, progress=console.progress())
    if as_json:
        console.print_json({"verification": schema.dump(found.verification), "tier": found.tier.value})
    else:
        _print_verified(found)


def _print_verified(found: "Verified") -> None:
    verification = found.verification
    click.echo(f"the numbers hold: {verification.tier.value}")
    click.echo(f"  result_id {verification.result_id}")
    for name, difference in verification.differences.items():
        click.echo(f"  {name}: differs by {difference:+.3g}")
    click.echo(f"  the entry's tier is {found.tier.value}")
    if found.tier.rank < verification.tier.rank:
        click.echo("  --grant writes the new one into the entry")


def _tree_json(tree: "CheckedTree") -> dict[str, object]:
    return {
        "entries": [
            {
                "where": one.where,
                "name": one.entry.name,
                "set": one.entry.set_id,
                "task": one.entry.task,
                "tier": one.entry.tier.value,
                "result_id": one.entry.result_id,
                "audit_images": len(one.entry.audit),
                "recomputed": dict(one.follows.recomputed) if one.follows is not None else {},
                "taken_on_trust": dict(one.follows.taken_on_trust) if one.follows is not None else {},
            }
            for one in tree.entries
            if one.entry is not None
        ],
        "records": [one.where for one in tree.records],
    }


def _print_tree(tree: "CheckedTree") -> None:
    for one in tree.entries:
        _print_entry(one)
    if tree.records:
        click.echo(f"{len(tree.records)} records of the project's own models are whole and of known sets and recipes")
    if tree.entries:
        click.echo(f"{len(tree.entries)} entries are what they say")


def _print_entry(one: "CheckedEntry") -> None:
    if one.entry is None or one.follows is None:
        return
    from palette_bench.common.errors import printable

    click.echo(f"{one.where}: {printable(one.entry.name)}, {one.entry.tier.value}")
    click.echo(f"  from its items: {', '.join(f'{name} ({what})' for name, what in one.follows.recomputed.items())}")
    trusted = ", ".join(f"{name} ({why})" for name, why in one.follows.taken_on_trust.items())
    click.echo(f"  cannot be recomputed from items: {trusted}")
    if not one.entry.audit:
        click.echo("  no audit images")


@command.command(
    epilog="""\b
Examples:
  palette-bench leaderboard build
  palette-bench leaderboard build --check
  palette-bench leaderboard build --leaderboards my-clone/leaderboards --out public"""
)
@click.option("--leaderboards", type=ANY_PATH, default=FOLDER, show_default=True, help="Where entries and records are.")
@click.option("--out", type=ANY_PATH, help="Folder of the site.  [default: site in --leaderboards]")
@click.option("--check", "only_check", is_flag=True, help="Write nothing; fail when a built file is stale.")
@as_json
def build(leaderboards: Path, out: Path | None, *, only_check: bool, as_json: bool) -> None:
    """Build the pages of all sets and the README of each, after every check of `leaderboard check`.

    The site is plain files: it opens by double-click and asks nothing of any network. Equal entries give equal files.
    """
    from palette_bench.publish.leaderboard.build import built, demand_fresh, write

    out = out or leaderboards / "site"
    found = built(leaderboards, out)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    changed: list[Path] = []
    if only_check:
        demand_fresh(found, out)
    else:
        changed = write(found, out)
    if as_json:
        console.print_json({"files": len(found.files), "written": [str(path) for path in changed]})
        return
    click.echo(f"{len(found.files)} files are up to date{'' if only_check else f', {len(changed)} written now'}")
    click.echo(f"  {out / 'index.html'}")


@command.command(
    "export-hf",
    epilog="""\b
Examples:
  palette-bench leaderboard export-hf leaderboards/scenes32/entries/uncrop/my-model --dataset me/scenes32
  palette-bench leaderboard export-hf ENTRY --dataset me/scenes32 --out .eval_results/scenes32-uncrop.yaml""",
)
@click.argument("entry", type=ANY_PATH)
@click.option("--dataset", required=True, metavar="OWNER/NAME", help="The benchmark's dataset on the Hub.")
@click.option("--out", type=ANY_PATH, help="The file to write.  [default: standard output]")
def export_hf(entry: Path, dataset: str, out: Path | None) -> None:
    """Write an entry's headline numbers as YAML for .eval_results/ of a model's repository on the Hugging Face Hub.

    The dataset's eval.yaml must list the tasks under the ids that the file names: TASK_RECIPE.
    """
    from palette_bench.common.files import write_bytes
    from palette_bench.publish.leaderboard.check import entry_at
    from palette_bench.publish.leaderboard.hugging_face import eval_results

    text = eval_results(*entry_at(entry), dataset)
    if out is None:
        click.echo(text, nl=False)
        return
    write_bytes(out, text.encode())
    click.echo(out)
