"""A result record for tests that need any."""

from dataclasses import replace

from palette_bench.artifacts.record import (
    GroupRecord,
    GroupValue,
    MetricValue,
    Origin,
    ResultRecord,
    ScoredReference,
    ScoredSet,
)

ITEMS = "id,label,prediction_sha256,psnr,top1\na,1,{0},30.5,3\nb,2,{0},,4\n".format("0" * 64)


def a_record() -> ResultRecord:
    """A record of two items with everything that a record can have."""
    metric = MetricValue(
        recipe="fid-scenes32",
        title="FID",
        unit="",
        lower_is_better=True,
        headline=True,
        value=1.25,
        standard_error=0.1,
        low=1.0,
        high=1.5,
        reference_value=0.2,
        fingerprint="a" * 64,
        backbone="scenes32",
        weights_sha256="b" * 64,
        canonical=True,
        signature="fid-scenes32|set:scenes32@1",
        details={"residual": 0.0},
    )
    bare = replace(
        metric, recipe="psnr-rgb", title="PSNR", lower_is_better=False, standard_error=None, low=None, high=None
    )
    return ResultRecord(
        name="mine",
        scored=ScoredSet(
            set_id="scenes32",
            name="scenes32",
            version=1,
            status="embedded",
            variant=("x",),
            fingerprint="c" * 64,
            data_digest="d" * 64,
            count=2,
            size=32,
            geometry="square-area",
            task="uncrop",
            task_fingerprint="e" * 64,
        ),
        reference=ScoredReference(name="reference", fingerprint="1" * 64, data_digest="2" * 64, count=10),
        predictions_digest="3" * 64,
        tree_sha256="4" * 64,
        samples=2,
        lossy=0,
        known_change=0.5,
        metrics={"fid-scenes32": metric, "psnr-rgb": bare},
        refused={"ca-scenes32": "no labels"},
        warnings=("careful",),
        incomparable=(),
        environment={"python": "3.11"},
        groups=(
            GroupRecord(
                grouping="class",
                name="tree",
                count=1,
                metrics={"psnr-rgb": GroupValue(value=3.0, standard_error=None, low=None, high=None)},
            ),
        ),
        histogram=(1, 0),
        origin=Origin(
            model="palette",
            title="Palette",
            kind="python",
            fingerprint="5" * 64,
            weights_sha256=None,
            seed=7,
            stochastic=True,
            post_processing=({"step": "composite_known"},),
        ),
    )
