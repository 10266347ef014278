"""Golden fingerprints: a change here means that numbers made before and after it may not share a table."""

import subprocess
import sys

import pytest

from palette_bench.common.errors import UsageError
from palette_bench.score.backbones import base, lpips_alexnet
from palette_bench.score.recipes import catalogue
from palette_bench.score.recipes.base import LPIPS, LPIPS_HEADS_SHA256, PIXELS, Recipe

SAME_BACKBONE = "0" * 64

BACKBONES = {
    "inception2015": "7f5abc3dbc95710c1af299ea4f45b80de19825acdcb7a18a0406e8eb8ed28b7d",
    "resnet50-v1": "968c1fea1b2a72ef2e48e20264c625b8558826656a523f20da1e1e11e37c5763",
    "googlenet": "372588702d3b30215d701068aebca23adf639d811a2cd9d428dec3db4de5e75d",
}

RECIPES = {
    "fid-inception2015-tf1": "5321b888f2b6d6177fcaf429a457af9964d753c2b211995885a76d468d60533e",
    "is-inception2015-biased-1split": "ff7d957de2ecb2c7177621d2ad674a0883fd516777da7e52952b53bde1bc4331",
    "ca-resnet50v1-crop224": "ad8122a26182017e35a038f628a5ec75b9922f7b406d1ca73ad4f4dfc0591bef",
    "pd-inception2015-pool3-l2sq": "cba555b7aaa11208c4bc757e1ab8875e188fe8ccc5bd227c91639c86da93d611",
    "pd-inception2015-pool3-l2": "e2f63efe022775dc14b04fc81f663150de79a82dc07d35fc4f337651de6d6e1d",
    "pd-googlenet-pool-l2sq": "0501553ed2910e94ba751183d895d9681bb9f1ed4518129934dfffd2012f5e1f",
    "pd-googlenet-pool-l2": "b42ac8e7504f016ebeb11591e87d23b45542d768dafbaf3641cbec083bed599b",
    "fid-inception2015-tf1-evalset": "38039e6ebf5cd5800277697b48161de5ddcbd70e4a287784446420e3076d3c91",
    "is-inception2015-unbiased-10splits": "f819be7f552ca48a33c4c39282948ae8a5b55b454d5b0b5dc03da50616fb6e38",
    "fid-scenes32": "74a5bba4a942c5fefbc96b03e114cb12ba27b1f205a2895ec334a42d115d9856",
    "is-scenes32": "16935f5f124eed3bc9417b27a485242418ff1bf9e692f9be06ad3e3cfe200b9a",
    "ca-scenes32": "0b917e12cc6878c2d5fd2bfddbc56a2ec35a076c675a85084c0275525f8375cf",
    "pd-scenes32": "727f4a9a3ffeb6750ffbb83dc440ac6d66b6bfca55ac8d4a22220362832137b7",
    "fid-scenes32-evalset": "0197c1b8f3fad72ffab36295e5bf251422a7b34a43eb3e9ab4f0e8b854a9f2c7",
    "psnr-rgb": "d83bd010348cf5ad1f993448ba50d579ae47c9143b4dac5eb269837ab56029f4",
    "ssim-gauss11-rgb": "1ffecb67ffdaaf8666089d3312dc851b5d476275f52fd98f8584529c2c3c079f",
    "diversity-msssim-5scales": "906a75fdb2dd201ff4e8399baae3606d926d8a588a7c0d3bb95915f76c1ce5f3",
    "fid-inception2015-halfpixel": "af55290e9d6b568a957f5e60825092084fd0542731b3fb55d60ffafc6705f9dc",
    "fid-inception2015-halfpixel-evalset": "8242a0ab7b0b56dc9aa4337528cf8d018b570bcf1bdf22162cce1e493ee246dc",
    "fid-inception2015-clean": "62acd52f35bf0d1334a547e9a93f3ff4262488d4eaefb4fc9a329f0963791965",
    "fid-inception2015-clean-evalset": "53fa3ae58268fcb2e80c59cb22cdb2a5e91411053b68d5ee74010198799633e7",
    "kid-inception2015-tf1-evalset": "812bf39620aba0d07853edee2ace50257f5f2c43d73dbf476a3d47251df72124",
    "kid-inception2015-tf1-evalset-subsets": "7ebb69f2bee6c6ff78c0faa6114dea2ffc6a23fa020d62ced7d45c55391e37c0",
    "precision-inception2015-tf1-evalset-k3": "2d3a8507c4cc97429a989fbff505b48740f4afb20cff43666438ce76acaa78a6",
    "recall-inception2015-tf1-evalset-k3": "47488623d1d14b862924e242d1760435c7e20febb570cfe530b7115bd8d7f659",
    "density-inception2015-tf1-evalset-k5": "8f0130a8f25668c88d226b06f0845b9039eb2af9121a00c1044a92ecf0a24e1c",
    "coverage-inception2015-tf1-evalset-k5": "e6254d6d4b1e5c3ca8cd9d761f70240caf3e3c569da21c86568dde0790962662",
    "is-inception2015-biased-10splits": "58435334dd3b85345da60510bbee9695087ba67f8bfb14a04b293556ed57f33d",
    "is-inception2015-unbiased-1split": "8437da40797f92cd7f2da859e05a45d3dd59dab5a1afac5ff67b1939c95e3ee4",
    "diversity-lpips-alexnet": "1623b3c761396d0bb9de2a6e9837f417803c860ffe43820d1273874423703987",
    "ca-resnet50v1-squeeze224": "8a775ba984fb2825dca95f638b25e1e408290bd447d1e11854bb00da3fb9e76a",
    "ca-resnet50v1-native256": "2a1700b1af1b98fd60f13f56024c7bdf0ca672a2388e374063138189e449a8d3",
    "ca-efficientnetb0-crop224": "c333a0b38f576b51e81ad540ad24dabb155cb5dfbefc917f2f989640ac00277a",
    "diversity-msssim-2scales": "48fe0c8016ff5e8c516974f239eddaaede79ec8660fd7673385bed681c83cc2a",
    "kid-scenes32-evalset": "cb8b26efafb9e9b2b501059878dc94d9d8295e42a315566472cb16b8490be2b2",
    "precision-scenes32-evalset-k3": "4657df2ed5876c50fed927484ad93486b020dd25239511f204466bac34b95823",
    "recall-scenes32-evalset-k3": "5c1909a881247902bfb37a187c92c826e235bf41482565275a26ee80e0fd5554",
    "density-scenes32-evalset-k5": "59f1535763534f04e4fe39bb2c9959b4ae4da195bbbab60e6cad153c8349cde5",
    "coverage-scenes32-evalset-k5": "7f485169d42263397a2060201c4efc819b1cd61dfd90a9c8b372a6b29dc7cf01",
}


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_fingerprints_are_frozen(name: str) -> None:
    assert base.canonical_fingerprint(name) == BACKBONES[name]


@pytest.mark.parametrize("name", catalogue.RECIPES)
def test_recipe_fingerprints_are_frozen(name: str) -> None:
    assert catalogue.named(name).fingerprint(SAME_BACKBONE) == RECIPES[name]


def test_fingerprints_are_distinct_and_follow_the_weights() -> None:
    assert len(set(RECIPES.values())) == len(RECIPES) == len(catalogue.RECIPES)
    recipe = catalogue.named("fid-inception2015-tf1")
    spec = base.spec_named("inception2015")
    assert spec.fingerprint("1" * 64) != spec.fingerprint("2" * 64)
    assert recipe.fingerprint(spec.fingerprint("1" * 64)) != recipe.fingerprint(spec.fingerprint("2" * 64))


@pytest.mark.parametrize("recipe", catalogue.RECIPES.values(), ids=lambda r: r.name)
def test_a_recipe_names_an_output_that_exists(recipe: Recipe) -> None:
    if recipe.backbone not in (PIXELS, LPIPS):
        assert recipe.output in base.spec_named(recipe.backbone).outputs
    assert len(recipe.doc) > 40
    assert recipe.title
    assert recipe.version >= 1


def test_families() -> None:
    imagenet = {r.name for r in catalogue.for_protocol("imagenet")}
    places = {r.name for r in catalogue.for_protocol("places")}
    scenes32 = catalogue.for_protocol("scenes32")
    assert all(name.startswith("ca-") for name in imagenet - places)
    assert places < imagenet
    assert {r.backbone for r in scenes32} == {"scenes32", PIXELS}
    usual = {r.name for r in catalogue.for_protocol("imagenet") if not r.on_request}
    assert {"psnr-rgb", "ssim-gauss11-rgb", "diversity-msssim-5scales"} < usual
    assert not any(name.startswith(("kid-", "precision-", "fid-inception2015-clean")) for name in usual)
    for family in ("imagenet", "places", "scenes32"):
        headline = [r.title for r in catalogue.for_protocol(family) if r.headline]
        assert headline == (["FID", "IS", "PD"] if family == "places" else ["FID", "IS", "CA", "PD"])
    with pytest.raises(UsageError, match="no recipes"):
        catalogue.for_protocol("faces")
    with pytest.raises(UsageError, match="no recipe of this name"):
        catalogue.named("fid")


def test_a_published_fingerprint_needs_no_weights_file() -> None:
    found = {recipe.published_fingerprint for recipe in catalogue.RECIPES.values()}
    assert len(found) == len(catalogue.RECIPES)
    recipe = catalogue.named("fid-inception2015-tf1")
    assert recipe.published_fingerprint == recipe.fingerprint(BACKBONES["inception2015"])


def test_the_heads_of_lpips_are_those_that_are_loaded() -> None:
    assert LPIPS_HEADS_SHA256 == lpips_alexnet.HEADS_SHA256


def test_planning_does_not_load_torch() -> None:
    script = (
        "import sys; import palette_bench.score.features, palette_bench.score.recipes.catalogue; "
        "import palette_bench.cli.weights; "
        "import palette_bench.score.backbones.base as b; b.canonical_fingerprint('inception2015'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
