"""The folder of a report: made beside its place, whole when it appears there."""

from dataclasses import dataclass
from pathlib import Path

from palette_bench.common.errors import InputError
from palette_bench.common.files import staged_folder, write_json, write_plainly
from palette_bench.common.progress import Progress
from palette_bench.common.version import __version__
from palette_bench.publish.report.facts import find_facts, first_shown
from palette_bench.publish.report.material import gather
from palette_bench.publish.report.page import report_page
from palette_bench.publish.report.pictures import plan_layout, write_pictures

PAGE_FILE = "index.html"
REPORT_FILE = "report.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Report:
    """A finished report: its folder, how many items it shows, of how many in full, and its bytes."""

    folder: Path
    items: int
    full: int
    bytes: int
    result_id: str

    @property
    def page(self) -> Path:
        """What to open."""
        return self.folder / PAGE_FILE

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {
            "page": str(self.page),
            "items": self.items,
            "full_images": self.full,
            "bytes": self.bytes,
            "result_id": self.result_id,
        }


def make_report(
    result: Path, preds: Path | None, out: Path | None, *, samples_shown: int, jobs: int, progress: Progress
) -> Report:
    """Make the report of a record in ``out``, by default ``report`` beside the record, and replace an older one.

    Equal inputs give equal bytes. Raises InputError where something else lies at ``out``, and whatever `gather` raises.
    """
    folder = out if out is not None else _beside(result) / "report"
    _refuse_others(folder)
    material = gather(result, preds, jobs=jobs, progress=progress)
    facts = find_facts(material, jobs=jobs, progress=progress)
    samples = min(material.record.samples, samples_shown)
    layout = plan_layout(material.eval_set.count, material.eval_set.size, samples)
    with staged_folder(folder, purpose=f"the report in {folder}") as staging:
        wanted = first_shown(facts, layout.count)
        full = write_pictures(material, layout, wanted, staging, jobs=jobs, progress=progress)
        write_plainly(staging / PAGE_FILE, report_page(material, facts, layout, full).encode())
        described = {
            "schema": SCHEMA,
            "result_id": material.record.result_id,
            "items_sha256": material.of.items_sha256,
            "samples_shown": samples,
            "full_images": len(full),
            "palette-bench": __version__,
        }
        write_json(staging / REPORT_FILE, described)
        size = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    return Report(folder, layout.count, layout.count if layout.exact else len(full), size, material.record.result_id)


def _beside(result: Path) -> Path:
    return result if result.is_dir() else result.parent


def _refuse_others(folder: Path) -> None:
    """Nothing is replaced but a report, or an empty folder."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        found = "a link" if folder.is_symlink() else "a file"
    elif folder.is_dir() and any(folder.iterdir()) and not (folder / REPORT_FILE).is_file():
        found = "a folder with other files"
    else:
        return
    raise InputError(
        "there is something else where the report would go",
        where=folder,
        expected="nothing, an empty folder or an older report",
        found=found,
        next_step="choose another --out",
    )
