"""The server by HTTP: entering, answering once, resuming, ending, and what it refuses."""

import http.client
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from palette_bench.common.errors import VerificationError
from palette_bench.study.definition import Platform, Study, write_study
from palette_bench.study.design import Kind, Trial
from palette_bench.study.rater import Rater
from palette_bench.study.server import IDLE_SECONDS, MOST_BODY, StudyServer, origin_of
from tests.study.conftest import Serve
from tests.study.served import real_side
from tests.study.worlds import small_study

FORM = {"content-type": "application/x-www-form-urlencoded"}


def test_a_rater_comes_in_answers_and_gets_a_code_at_the_end_only(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path))
    rater = served.rater()
    assert rater.ask("GET", f"{rater.session}end").headers["location"] == "./"
    last = served.run(rater)
    assert last == {"stage": "done"}
    session = served.session(rater)
    assert session.state == "done"
    page = rater.ask("GET", f"{rater.session}end").body.decode()
    assert session.code in page
    kinds = [served.server.design.trial(session.seat, answer.trial) for answer in served.answers(rater)]
    assert [trial.kind for trial in kinds if trial].count(Kind.MAIN) == 6
    assert len(kinds) == 9


def test_an_answer_that_comes_twice_is_stored_once_and_the_first_stays(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path))
    rater = served.rater()
    step = rater.next()
    first = rater.answer(step["trial"], "left", shown_ms=100.0).json
    second = rater.answer(step["trial"], "right", shown_ms=100.0).json
    assert first == second, "the same acknowledgement, the same next trial, the same feedback"
    assert [(a.trial, a.choice) for a in served.answers(rater)] == [(0, "left")]


def test_a_second_tab_goes_on_at_the_next_trial(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path))
    rater = served.rater()
    other = Rater(served.address)
    other.enter(f"/seat/{served.server.keys.ticket(1)}")
    assert other.session == rater.session
    step = rater.next()
    assert other.next() == step
    rater.answer(step["trial"], "left", shown_ms=100.0)
    assert other.next()["position"] == step["position"] + 1
    assert served.query("SELECT count(*) FROM sessions") == [(1,)]


def test_a_session_not_heard_of_gives_its_seat_to_the_next(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path, raters=1, sets=1))
    lost = served.rater(1)
    step = lost.next()
    with pytest.raises(Exception, match="let nobody in"):
        served.rater(2)
    served.shift[0] += IDLE_SECONDS + 1
    found = served.rater(2)
    assert served.session(found).seat == served.session(lost).seat
    assert served.session(lost).state == "lost"
    assert lost.next() == {"stage": "closed"}
    reply = lost.answer(step["trial"], "left", shown_ms=100.0)
    assert reply.json == {"saved": True, "next": {"stage": "closed"}, "feedback": reply.json["feedback"]}
    assert len(served.answers(lost)) == 1, "an answer on its way is kept"
    assert lost.ask("GET", f"{lost.session}end").status == 410


def test_practice_below_its_mark_ends_the_session_and_frees_the_seat(tmp_path: Path, serve: Serve) -> None:
    def strict(study: Study) -> Study:
        return replace(study, exclusions=replace(study.exclusions, practice_correct=2))

    served = serve(tmp_path, small_study(tmp_path, change=strict))
    rater = served.rater()
    last = served.run(rater, lambda trial: "right" if trial.real_left else "left")
    assert last == {"stage": "screened"}
    assert served.session(rater).state == "screened"
    assert len(served.answers(rater)) == 2
    assert served.session(served.rater(2)).seat == served.session(rater).seat


def test_practice_tells_whether_one_was_right_and_the_rest_does_not(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path))
    rater = served.rater()
    step = rater.next()
    while "trial" in step:
        trial = served.trial(rater, step)
        said = rater.answer(step["trial"], real_side(trial), shown_ms=100.0).json
        assert ("feedback" in said) == (trial.kind is Kind.PRACTICE)
        if trial.kind is Kind.PRACTICE:
            assert said["feedback"] is True
        step = said["next"]


def test_a_bad_showing_is_flagged_and_shown_once_more_at_the_end(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path, practice=0))
    rater = served.rater()
    first = rater.next()
    rater.answer(first["trial"], "left", shown_ms=500.0)
    second = rater.next()
    rater.answer(second["trial"], "left", shown_ms=100.0, blurred=True)
    served.run(rater, most=5)
    again = rater.next()
    assert (again["position"], again["total"]) == (8, 9)
    assert again["trial"] != first["trial"]
    assert served.trial(rater, again) == served.trial(rater, first)
    assert served.run(rater, shown_ms=500.0) == {"stage": "done"}, "once, whatever comes of it"
    flags = {answer.trial: answer.flags for answer in served.answers(rater)}
    assert flags[0] == ("exposure",)
    assert flags[1] == ("blurred",)
    assert flags[10_000] == ("exposure",)
    assert len(flags) == 9


def test_the_study_is_sealed_by_its_first_answer(tmp_path: Path, serve: Serve) -> None:
    study = small_study(tmp_path)
    edited = replace(study, ethics=replace(study.ethics, minutes=study.ethics.minutes + 1))
    served = serve(tmp_path, study, database="one.sqlite")
    served.rater().next()
    served.server.store.close()
    StudyServer(tmp_path, edited, database="one.sqlite").store.close()
    served = serve(tmp_path, edited, database="one.sqlite")
    assert served.query("SELECT state, reason FROM sessions") == [("lost", "the study was edited")]
    rater = served.rater(2)
    rater.answer(rater.next()["trial"], "left", shown_ms=100.0)
    served.server.store.close()
    with pytest.raises(VerificationError, match="edited after its first answer"):
        StudyServer(tmp_path, study, database="one.sqlite")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (json.dumps({"trial": "x", "choice": "left", "measured": {}}).encode(), 409),
        (json.dumps({"trial": "x", "choice": "left", "measured": {"shown_ms": "NaN"}}).encode(), 400),
        (json.dumps({"trial": "x", "choice": "left", "measured": {"more": 1}}).encode(), 400),
        (b'{"trial": "' + b"x" * MOST_BODY + b'"}', 413),
    ],
)
def test_bad_answers_are_refused_and_nothing_is_stored(tmp_path: Path, serve: Serve, body: bytes, status: int) -> None:
    served = serve(tmp_path, small_study(tmp_path))
    rater = served.rater()
    found = rater.ask("POST", f"{rater.session}answer", body=body, headers={"content-type": "application/json"})
    assert found.status == status
    assert served.query("SELECT count(*) FROM answers") == [(0,)]
    step = rater.next()
    assert rater.answer(step["trial"], "middle").status == 400
    form = rater.ask("POST", f"{rater.session}answer", body=b"{}", headers={"content-type": "text/plain"})
    assert form.status == 415


def test_a_body_without_a_length_ends_at_the_limit(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path))
    rater = served.rater()

    def pieces() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 1024

    connection = http.client.HTTPConnection(served.address.partition("//")[2], timeout=10)
    with pytest.raises((http.client.HTTPException, OSError, AssertionError)):  # noqa: PT012
        connection.request(
            "POST",
            f"{rater.session}answer",
            body=pieces(),
            headers={"content-type": "application/json"},
            encode_chunked=True,
        )
        assert connection.getresponse().status < 400
    assert served.query("SELECT count(*) FROM answers") == [(0,)]


def test_unknown_addresses_sessions_and_images_say_nothing(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path))
    rater = served.rater()
    step = rater.next()
    digest = served.server.study.items[0].reference
    for path in (
        "/assets/",
        "/assets/../study.toml",
        "/study.toml",
        "/stimuli/",
        f"/stimuli/{digest}.png",
        "/seat/1-forged",
        "/s/forged/next",
        f"{rater.session}image/forged",
        "/answers.sqlite",
        "/docs",
    ):
        assert rater.ask("GET", path).status == 404, path
    name = step["images"]["left"]
    assert rater.image(name).status == 200
    rater.answer(step["trial"], "left", shown_ms=100.0)
    assert rater.image(name).status == 404, "images of a trial that is answered are gone"


def test_every_answer_has_the_same_guarding_headers(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path))
    rater = served.rater()
    name = rater.next()["images"]["left"]
    for path in ("/", "/assets/app.js", "/nothing", rater.session, f"{rater.session}image/{name}", "/withdraw"):
        headers = rater.ask("GET", path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "unsafe" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    page = rater.ask("GET", rater.session).body.decode()
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", page), "no inline script or style"
    assert "http" not in page.replace("http-equiv", "")


def test_too_many_requests_are_refused(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path), limited=True)
    rater = served.rater()
    statuses = [rater.ask("GET", f"{rater.session}next").status for _ in range(200)]
    assert 429 in statuses
    assert served.rater(2).next()["stage"] == "practice", "others are served"


def test_session_tokens_cannot_be_guessed_and_are_not_stored(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path))
    token = served.rater().session.split("/")[2]
    assert len(token) >= 43
    data = b"".join(p.read_bytes() for p in tmp_path.glob("answers.sqlite*"))
    assert token.encode() not in data


PROLIFIC = "/?PROLIFIC_PID=5f0c&STUDY_ID=s&SESSION_ID=t"


def by_platform(platform: Platform, addresses: tuple[str, ...], **codes: str) -> "object":
    def change(study: Study) -> Study:
        recruitment = replace(study.recruitment, platform=platform, return_addresses=addresses, codes=codes)
        return replace(study, recruitment=recruitment)

    return change


def test_prolific_raters_are_stored_by_pseudonym_and_sent_back(tmp_path: Path, serve: Serve) -> None:
    change = by_platform(Platform.PROLIFIC, ("https://app.prolific.com/submissions/complete",), completed="C1ABC")
    served = serve(tmp_path, small_study(tmp_path, change=change))  # type: ignore[arg-type]
    assert Rater(served.address).ask("GET", "/").status == 400
    rater = Rater(served.address)
    fields = {"PROLIFIC_PID": "5f0c", "STUDY_ID": "s", "SESSION_ID": "t"}
    rater.enter(PROLIFIC, fields)
    again = Rater(served.address)
    again.enter(PROLIFIC, fields)
    assert again.session == rater.session, "one person, one session"
    session = served.session(rater)
    assert session.person is not None
    assert "5f0c" not in session.person
    served.run(rater)
    page = rater.ask("GET", f"{rater.session}end").body.decode()
    assert 'href="https://app.prolific.com/submissions/complete?cc=C1ABC"' in page


def test_mturk_previews_take_no_seat_and_forms_go_to_allowed_addresses_only(tmp_path: Path, serve: Serve) -> None:
    change = by_platform(Platform.MTURK, ("https://www.mturk.com", "https://workersandbox.mturk.com"))
    served = serve(tmp_path, small_study(tmp_path, change=change))  # type: ignore[arg-type]
    rater = Rater(served.address)
    preview = rater.ask("GET", "/?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&hitId=h")
    assert preview.status == 200
    assert b"<form" not in preview.body
    assert served.query("SELECT count(*) FROM sessions") == [(0,)]
    assert served.query("SELECT count(*) FROM arrivals") == [(0,)]
    evil = "/?assignmentId=A1&workerId=W1&turkSubmitTo=https%3A%2F%2Fevil.example"
    assert rater.ask("GET", evil).status == 400
    fields = {"assignmentId": "A1", "workerId": "W1", "turkSubmitTo": "https://workersandbox.mturk.com"}
    rater.enter("/?assignmentId=A1&workerId=W1&turkSubmitTo=https%3A%2F%2Fworkersandbox.mturk.com", fields)
    served.run(rater)
    reply = rater.ask("GET", f"{rater.session}end")
    page = reply.body.decode()
    assert 'action="https://workersandbox.mturk.com/mturk/externalSubmit"' in page
    assert 'name="assignmentId" value="A1"' in page
    policy = reply.headers["content-security-policy"]
    assert "form-action 'self' https://www.mturk.com https://workersandbox.mturk.com" in policy
    assert "frame-ancestors https://www.mturk.com" in policy


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://www.mturk.com/x?y", "https://www.mturk.com"),
        ("http://www.mturk.com", ""),
        ("https://www.mturk.com@evil.example", ""),
        ("javascript:alert(1)", ""),
        ("//evil.example", ""),
        ("https://[", ""),
        ("http://localhost:8000/a", "http://localhost:8000"),
    ],
)
def test_only_plain_https_addresses_have_an_origin(address: str, origin: str) -> None:
    assert origin_of(address) == origin


def test_open_studies_resume_by_cookie(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path, platform=Platform.OPEN))
    rater = Rater(served.address)
    rater.enter("/")
    first = rater.session
    reply = rater.ask("GET", "/")
    assert (reply.status, reply.headers["location"]) == (303, first)
    other = Rater(served.address)
    other.enter("/")
    assert other.session != first


def test_without_consent_nobody_comes_in(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path))
    ticket = served.server.keys.ticket(1)
    reply = Rater(served.address).ask("POST", "/begin", body=f"ticket={ticket}".encode(), headers=FORM)
    assert reply.status == 400
    assert b"I agree to take part" in reply.body
    assert served.query("SELECT count(*) FROM sessions") == [(0,)]


def test_withdrawal_deletes_answers_and_frees_the_seat(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path))
    rater = served.rater()
    served.run(rater)
    page = rater.ask("GET", f"{rater.session}end").body.decode()
    code = re.search(r"note this code: (\w+)\.", page)
    assert code is not None
    assert rater.ask("POST", "/withdraw", body=b"code=WRONG", headers=FORM).status == 404
    spaced = code[1][:4] + "-" + code[1][4:].lower()
    reply = rater.ask("POST", "/withdraw", body=f"code={spaced}".encode(), headers=FORM)
    assert reply.status == 200
    assert served.query("SELECT count(*) FROM answers") == [(0,)]
    assert served.session(rater).state == "withdrawn"
    assert served.session(served.rater(2)).seat == 0


def test_colour_plates_come_first_and_are_marked_later(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path, colour=True))
    rater = served.rater()
    step = rater.next()
    assert (step["stage"], step["total"]) == ("plate", 4)
    assert "exposure" not in step
    assert rater.image(step["images"]["plate"]).status == 200
    assert rater.answer(step["trial"], "left").status == 400

    def choose(trial: Trial) -> str:
        return served.server.plates[trial.item] if trial.kind is Kind.PLATE else real_side(trial)

    assert served.run(rater, choose) == {"stage": "done"}


def test_a_disk_that_fails_acknowledges_nothing_and_loses_nothing(tmp_path: Path, serve: Serve) -> None:
    served = serve(tmp_path, small_study(tmp_path))
    rater = served.rater()
    step = rater.next()
    pages = served.query("PRAGMA page_count")[0][0]
    served.server.store.run(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    statuses = []
    for _ in range(400):
        reply = rater.answer(step["trial"], "left", shown_ms=100.0)
        statuses.append(reply.status)
        if reply.status == 503:
            break
        step = reply.json["next"]
        if "trial" not in step:
            rater = served.rater(len(statuses))
            step = rater.next()
    assert statuses[-1] == 503, "a full disk is said, not hidden"
    acknowledged = len(statuses) - 1
    assert served.query("SELECT count(*) FROM answers") == [(acknowledged,)]
    served.server.store.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
    assert rater.answer(step["trial"], "left", shown_ms=100.0).status == 200
    assert served.query("SELECT count(*) FROM answers") == [(acknowledged + 1,)]


def test_an_edited_image_is_refused(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    path = tmp_path / "stimuli" / f"{study.items[0].reference}.png"
    data = bytearray(path.read_bytes())
    path.write_bytes((tmp_path / "stimuli" / f"{study.items[1].reference}.png").read_bytes())
    (tmp_path / "stimuli" / f"{study.items[2].reference}.png").unlink()
    with pytest.raises(Exception, match="missing or changed") as raised:
        StudyServer(tmp_path, study)
    assert len(raised.value.problems) == 2  # type: ignore[attr-defined]
    path.write_bytes(bytes(data))
    assert write_study(study, tmp_path).exists()


def test_a_damaged_database_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    (tmp_path / "answers.sqlite").write_bytes(b"not a database, and long enough to be read as one" * 30)
    with pytest.raises(Exception, match="backup"):
        StudyServer(tmp_path, study)
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(tmp_path / "answers.sqlite").execute("SELECT 1 FROM meta")
