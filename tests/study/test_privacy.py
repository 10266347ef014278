"""What is stored of people, and what is left when a study is anonymous."""

import re
from pathlib import Path

import pytest

from palette_bench.common.errors import InputError
from palette_bench.study import store
from palette_bench.study.analyze import analyze
from palette_bench.study.definition import Platform
from palette_bench.study.keys import KEYS_FILE, read_keys
from palette_bench.study.privacy import anonymize_study, withdraw_by_code
from palette_bench.study.rater import Rater
from palette_bench.study.sitting import browser_family
from tests.study.conftest import Serve
from tests.study.worlds import small_study

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.7000.1 Safari/537.36"
PERSON = "5f0c1d2e3a4b5c6d7e8f9a0b"


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("answers.sqlite*")))


def prolific(tmp_path: Path, serve: Serve) -> tuple[Rater, object]:
    study = small_study(tmp_path, platform=Platform.PROLIFIC)
    served = serve(tmp_path, study)
    rater = Rater(served.address)
    rater.ask("GET", "/", headers={"user-agent": AGENT})
    rater.enter(f"/?PROLIFIC_PID={PERSON}&STUDY_ID=s1&SESSION_ID=t1", {"PROLIFIC_PID": PERSON, "STUDY_ID": "s1"})
    served.run(rater)
    return rater, served


def test_no_address_and_no_full_browser_is_stored(tmp_path: Path, serve: Serve) -> None:
    prolific(tmp_path, serve)
    data = all_bytes(tmp_path)
    assert b"127.0.0.1" not in data
    assert b"Mozilla" not in data
    assert PERSON.encode() in data, "raw ids are there until they are dropped, in a table of their own"


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        (AGENT, "Chromium, computer"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari, phone",
        ),
        ("Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0", "Firefox, phone"),
        ("curl/8", "other, computer"),
    ],
)
def test_browsers_are_families(agent: str, family: str) -> None:
    assert browser_family(agent) == family


def test_an_anonymous_study_has_its_rates_and_nobody(tmp_path: Path, serve: Serve) -> None:
    rater, served = prolific(tmp_path, serve)
    before = analyze(served.server.study, tmp_path / "answers.sqlite")  # type: ignore[attr-defined]
    person = read_keys(tmp_path).person("prolific", PERSON)
    served.server.store.close()  # type: ignore[attr-defined]
    anonymize_study(tmp_path)
    data = all_bytes(tmp_path)
    token = rater.session.split("/")[2]
    for secret in (PERSON, person, store.sha256(token), "s1", "Chromium"):
        assert secret.encode() not in data, secret
    after = analyze(served.server.study, tmp_path / "answers.sqlite")  # type: ignore[attr-defined]
    assert after.record.rates == before.record.rates
    assert after.record.result_id == before.record.result_id
    assert after.record.flow == before.record.flow
    with pytest.raises(InputError, match="anonymous"):
        read_keys(tmp_path).person("prolific", PERSON)


def test_whoever_runs_the_study_can_withdraw_for_a_rater(tmp_path: Path, serve: Serve) -> None:
    study = small_study(tmp_path)
    served = serve(tmp_path, study)
    rater = served.rater()
    served.run(rater)
    page = rater.ask("GET", f"{rater.session}end").body.decode()
    code = re.search(r"note this code: (\w+)\.", page)
    assert code is not None
    served.server.store.close()
    with pytest.raises(InputError, match="no rater has this code"):
        withdraw_by_code(tmp_path, study, "NOBODY")
    withdraw_by_code(tmp_path, study, code[1])
    with store.reading(tmp_path / "answers.sqlite") as connection:
        assert store.answers(connection) == []
        assert [s.state for s in store.sessions(connection)] == ["withdrawn"]


def test_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    small_study(tmp_path)
    assert (tmp_path / KEYS_FILE).stat().st_mode & 0o777 == 0o600


def test_a_backup_is_whole_while_answers_come_in(tmp_path: Path, serve: Serve) -> None:
    study = small_study(tmp_path, items=20)
    served = serve(tmp_path, study)
    rater = served.rater()
    served.run(rater, most=10)
    store.back_up(tmp_path / "answers.sqlite", tmp_path / "copy.sqlite")
    served.run(rater)
    with store.reading(tmp_path / "copy.sqlite", fingerprint=study.fingerprint) as connection:
        assert len(store.answers(connection)) == 10
    with pytest.raises(Exception, match="replaces nothing"):
        store.back_up(tmp_path / "answers.sqlite", tmp_path / "copy.sqlite")
