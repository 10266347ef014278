"""YAML for the Hub: what is written is what a reader of YAML finds."""

from dataclasses import replace
from pathlib import Path

import pytest

from palette_bench.common.errors import UsageError
from palette_bench.publish.leaderboard.check import entry_at
from palette_bench.publish.leaderboard.hugging_face import eval_results

yaml = pytest.importorskip("yaml")


def test_headline_numbers_are_read_back(good_entry: Path) -> None:
    entry, record = entry_at(good_entry)
    rows = yaml.safe_load(eval_results(entry, record, "me/scenes32"))
    assert [row["dataset"] for row in rows] == [
        {"id": "me/scenes32", "task_id": f"uncrop_{name}"}
        for name in ("fid-scenes32", "is-scenes32", "ca-scenes32", "pd-scenes32")
    ]
    for row in rows:
        metric = record.metrics[row["dataset"]["task_id"].removeprefix("uncrop_")]
        assert row["value"] == metric.value
        assert row["source"] == {"url": "https://example.org/a", "name": "My model"}
        assert metric.signature in row["notes"]
        assert "scored" in row["notes"]
        # Only the Hub can say when and whether it verified.
        assert not {"verifyToken", "date"} & row.keys()
    assert "standard error 0.2" in rows[0]["notes"]


def test_any_name_is_text(good_entry: Path) -> None:
    entry, record = entry_at(good_entry)
    name = "a: \"b\" 'c' # {d} [e] \\ - é"
    rows = yaml.safe_load(eval_results(replace(entry, name=name), record, "me/scenes32"))
    assert rows[0]["source"]["name"] == name


def test_without_an_address_there_is_no_source(good_entry: Path) -> None:
    entry, record = entry_at(good_entry)
    bare = replace(entry, model=replace(entry.model, url=""))
    assert all("source" not in row for row in yaml.safe_load(eval_results(bare, record, "me/scenes32")))


@pytest.mark.parametrize("dataset", ["scenes32", "a/b/c", "a/b\nc", "", "../x"])
def test_what_is_no_dataset_is_refused(good_entry: Path, dataset: str) -> None:
    with pytest.raises(UsageError):
        eval_results(*entry_at(good_entry), dataset)
