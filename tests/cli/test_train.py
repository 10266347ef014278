from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.conftest import RunCommand, make_photos
from tests.training_card import write_card


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_train_export_and_run_again(tmp_path: Path, run: RunCommand) -> None:
    card, out, weights = write_card(tmp_path, steps=2), tmp_path / "run", tmp_path / "weights.safetensors"
    code, stdout, stderr = run("train", card, "--out", out, "--samples-every", "2", "--stop-at", "1")
    assert (code, stdout) == (0, f"{out}: step 1 of 2\n"), stderr
    code, stdout, _ = run("train", card, "--out", out)
    assert code == 0
    assert "step 2 of 2" in stdout
    assert "--export" in stdout, "the next command"
    code, stdout, _ = run("train", card, "--out", out, "--export", weights, "--half")
    assert code == 0
    assert "of step 2, sha256 " in stdout
    assert (out / "samples" / "step-00000001.png").is_file()
    code, stdout, _ = run("train", card, "--out", tmp_path / "next", "--start-from", weights, "--stop-at", "1")
    assert code == 0


def test_photographs(tmp_path: Path, run: RunCommand) -> None:
    card, photos = write_card(tmp_path, steps=2, source="folder"), make_photos(tmp_path / "photos", 5)
    code, _, err = run("train", card, "--out", tmp_path / "run")
    assert code == 2
    assert "--source" in err
    code, _, err = run("train", card, "--out", tmp_path / "run", "--source", photos)
    assert code == 0, err
    (photos / "cats" / "photo-00.jpg").write_bytes(b"broken")
    code, _, err = run("train", card, "--out", tmp_path / "other", "--source", photos)
    assert code == 3
    assert "photo-00.jpg" in err
    (photos / "cats" / "photo-00.jpg").unlink()
    card = write_card(tmp_path, steps=3, source="folder")
    code, _, err = run("train", card, "--out", tmp_path / "run", "--source", photos)
    assert code == 3
    assert "other images" in err


def test_training_images_are_looked_at_before_the_first_step(tmp_path: Path, run: RunCommand) -> None:
    card, photos = write_card(tmp_path, steps=1, source="folder"), make_photos(tmp_path / "photos", 6)
    bad = sorted(photos.rglob("*.jpg"))[:2]
    bad[0].write_bytes(bad[0].read_bytes()[:300])
    Image.new("RGBA", (40, 40), (1, 2, 3, 0)).save(photos / "logo.png")
    names = [path.name for path in bad[:1]] + ["logo.png"]
    code, _, err = run("train", card, "--out", tmp_path / "run", "--source", photos)
    assert code == 3
    assert "2 of 7 training images cannot be used" in err
    assert all(name in err for name in (*names, "--skip-bad"))
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    code, _, err = run("train", card, "--out", tmp_path / "run", "--source", photos, "--skip-bad")
    assert code == 0, err
    assert "left out 2 of 7 images" in err
    assert all(name in err for name in names)
    card = write_card(tmp_path, steps=2, source="folder")
    code, _, err = run("train", card, "--out", tmp_path / "other", "--source", photos, "--skip-bad", "--stop-at", "1")
    assert code == 0, err
    code, out, err = run("train", card, "--out", tmp_path / "other", "--source", photos, "--skip-bad")
    assert (code, "step 2 of 2" in out) == (0, True), err
    assert "left out" not in err, "the run goes on with the images that it began with"


def test_mistakes_in_a_card_are_listed(tmp_path: Path, run: RunCommand) -> None:
    card = write_card(tmp_path, more='lr = 0.1\nloss = "l3"\nbetas = 5')
    code, _, err = run("train", card, "--out", tmp_path / "run")
    assert code == 3
    assert "training recipe" in err
    for name in (": lr:", ": loss:", ": betas:"):
        assert name in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_card_that_would_run_otherwise_than_it_trains(run: RunCommand, tmp_path: Path) -> None:
    card = write_card(tmp_path, steps=1, more='output = "velocity"')
    code, out, err = run("train", card, "--out", tmp_path / "run")
    assert (code, out) == (3, "")
    assert "output: [training] velocity, [config] noise" in err
    assert not (tmp_path / "run").exists()


def test_another_recipe_in_the_same_folder(tmp_path: Path, run: RunCommand) -> None:
    assert run("train", write_card(tmp_path, steps=1), "--out", tmp_path / "run")[0] == 0
    code, _, err = run("train", write_card(tmp_path, steps=1, more="seed = 4"), "--out", tmp_path / "run")
    assert code == 3
    assert "seed" in err
    assert "learning_rate" not in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("classical-mean",), 3, "no recipe for this trainer"),
        (("classical-mean-chroma",), 3, "classical_colour_fit"),
        (("no-such-card",), 2, ""),
        (("{card}", "--microbatch", "3"), 2, "does not divide"),
        (("{card}", "--export", "w.safetensors"), 3, "no checkpoint"),
        (("{card}", "--source", "."), 2, "drawn by the program"),
        (("{card}", "--start-from", "{card}"), 3, "weights file"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: tuple[str, ...], code: int, words: str, tmp_path: Path, run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    card = write_card(tmp_path, steps=1)
    found, _, err = run("train", *(one.format(card=card) for one in arguments))
    assert found == code, err
    assert words in err
    assert "Traceback" not in err
