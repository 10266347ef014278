"""Golden fingerprints: a change here means that numbers made before and after it may not share a table."""

import subprocess
import sys

import pytest

from palette_bench.common.errors import UsageError
from palette_bench.score import recipes
from palette_bench.score.backbones import base

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
}


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_fingerprints_are_frozen(name: str) -> None:
    assert base.canonical_fingerprint(name) == BACKBONES[name]


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_recipe_fingerprints_are_frozen(name: str) -> None:
    assert recipes.named(name).fingerprint(SAME_BACKBONE) == RECIPES[name]


def test_fingerprints_are_distinct_and_follow_the_weights() -> None:
    assert len(set(RECIPES.values())) == len(RECIPES) == len(recipes.RECIPES)
    recipe = recipes.named("fid-inception2015-tf1")
    spec = base.spec_named("inception2015")
    assert spec.fingerprint("1" * 64) != spec.fingerprint("2" * 64)
    assert recipe.fingerprint(spec.fingerprint("1" * 64)) != recipe.fingerprint(spec.fingerprint("2" * 64))


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=lambda r: r.name)
def test_a_recipe_names_an_output_that_exists(recipe: recipes.Recipe) -> None:
    assert recipe.output in base.spec_named(recipe.backbone).outputs
    assert recipe.doc
    assert recipe.title


def test_families() -> None:
    imagenet = {r.name for r in recipes.for_protocol("imagenet")}
    places = {r.name for r in recipes.for_protocol("places")}
    scenes32 = recipes.for_protocol("scenes32")
    assert imagenet - places == {"ca-resnet50v1-crop224"}
    assert places < imagenet
    assert {r.backbone for r in scenes32} == {"scenes32"}
    for family in ("imagenet", "places", "scenes32"):
        headline = [r.title for r in recipes.for_protocol(family) if r.headline]
        assert headline == (["FID", "IS", "PD"] if family == "places" else ["FID", "IS", "CA", "PD"])
    with pytest.raises(UsageError, match="no recipes"):
        recipes.for_protocol("faces")
    with pytest.raises(UsageError, match="no recipe of this name"):
        recipes.named("fid")


def test_planning_does_not_load_torch() -> None:
    script = (
        "import sys; import palette_bench.score.features, palette_bench.score.recipes, palette_bench.cli.weights; "
        "import palette_bench.score.backbones.base as b; b.canonical_fingerprint('inception2015'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
