"""The words of the pages: complete in every language, and replaced by a study's own."""

import re
from pathlib import Path

import pytest

from palette_bench.common.errors import InputError
from palette_bench.study.texts import languages, load_texts, shipped


def test_every_language_is_complete_and_names_the_same_facts() -> None:
    assert languages() == ["de", "en"]
    for language in languages():
        texts = load_texts(language)
        assert set(texts.values) == set(shipped("en"))
        for name, english in shipped("en").items():
            assert sorted(re.findall(r"\{\w+\}", texts[name])) == sorted(re.findall(r"\{\w+\}", english)), name


def test_a_study_has_texts_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "texts.toml").write_text('question_camera = "Which is the photo?"\n')
    assert load_texts("de", tmp_path)["question_camera"] == "Which is the photo?"
    assert load_texts("de", tmp_path)["begin"] == "Beginnen"


def test_what_is_missing_unknown_or_unfillable_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "texts.toml").write_text('progres = "x"\nprogress = "{place}"\nbegin = 3\n')
    with pytest.raises(InputError) as raised:
        load_texts("fr", tmp_path)
    kinds = {problem.kind for problem in raised.value.problems}
    assert kinds == {"missing", "unknown text", "unknown fact", "wrong type"}
