"""A training recipe: everything that the trained weights depend on, read from a card's ``[training]`` table."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Le, Lt

from palette_bench.common import schema
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.predict.card import Card
from palette_bench.predict.models.diffusion import (
    DiffusionConfig,
    GammaDistribution,
    KnownRegion,
    LossNorm,
    LossTarget,
    MaskNorm,
)
from palette_bench.predict.models.palette import read_config
from palette_bench.predict.models.unet import (
    GammaEmbedding,
    Mixing,
    NetworkConfig,
    NoisyInput,
    Output,
    preset,
)
from palette_bench.predict.training.degradations import Family


class Optimizer(StrEnum):
    """What turns gradients into steps."""

    ADAM = "adam"
    """The paper's."""
    MUON = "muon"
    """Muon (Jordan et al. 2024) for the convolutions between stem and head, at ``muon_rate``; Adam for the rest."""


class Kind(StrEnum):
    """What is trained."""

    PALETTE = "palette"
    REGRESSION = "regression"


_RUN_BY = {
    "palette_bench.predict.models.palette:Palette": Kind.PALETTE,
    "palette_bench.predict.models.palette:Regression": Kind.REGRESSION,
}


class SourceKind(StrEnum):
    """What the training images are."""

    SCENES32 = "scenes32"
    IMAGENET = "imagenet"
    PLACES365 = "places365"
    FOLDER = "folder"


_Count = Annotated[int, Ge(0)]
_Number = Annotated[float, Ge(0)]
_Below1 = Annotated[float, Ge(0), Lt(1)]
_SOME = schema.Fits(lambda rates: sum(rates.values()) > 0, "one rate above 0, such as { inpaint = 1.0 }")
_AREA = schema.Fits(lambda part: part[0] < part[1] <= 1.0, "two parts of an image, the lesser first")
_Family = Annotated[str, schema.Fits(lambda name: name in set(Family), f"one of {', '.join(Family)}")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training.

    ``tasks`` are relative rates. ``batch`` is the global batch, divided among ranks and microbatches. ``ema_warm_up``
    makes the decay min(ema, (1 + step) / (10 + step)). ``cool_down`` is over how many last steps the learning rate
    falls linearly to 0; 0, the paper's, keeps it to the end. ``rectangle_area`` is what part of an image the rectangles
    of inpainting cover together, at least and at most. ``clip_norm`` 0 clips nothing (the paper's preset).
    """

    FILE: ClassVar = schema.File("training recipe", next_step="correct these lines of the card")

    kind: Kind = Kind.PALETTE
    network: str = "mini32"
    mixing: Mixing = Mixing.GLOBAL
    gamma_embedding: GammaEmbedding = GammaEmbedding.SQRT_1000
    output: Output = Output.NOISE
    noisy_input: NoisyInput = NoisyInput.PLAIN
    dropout: _Below1 = 0.0
    tasks: Annotated[Mapping[_Family, _Number], _SOME] = field(default_factory=dict)
    source: SourceKind = SourceKind.SCENES32
    steps: _Count = 1_000_000
    batch: Annotated[int, Ge(1)] = 1024
    learning_rate: _Number = 1e-4
    warm_up: _Count = 10_000
    cool_down: _Count = 0
    optimizer: Optimizer = Optimizer.ADAM
    muon_rate: _Number = 0.02
    betas: tuple[_Below1, _Below1] = (0.9, 0.999)
    epsilon: _Number = 1e-8
    weight_decay: _Number = 0.0
    clip_norm: _Number = 0.0
    ema: Annotated[_Number, Le(1)] = 0.9999
    ema_warm_up: bool = False
    loss: LossNorm = LossNorm.L2
    loss_target: LossTarget = LossTarget.NOISE
    gamma_distribution: GammaDistribution = GammaDistribution.PIECEWISE
    stratified: bool = False
    mask_norm: MaskNorm = MaskNorm.IMAGE
    known: KnownRegion = KnownRegion.CLEAN
    rectangle_area: Annotated[tuple[_Number, _Number], _AREA] = (0.1, 0.3)
    seed: Annotated[_Count, Lt(1 << 63)] = 0

    def faults(self) -> Iterator[Problem]:
        """No task to train."""
        if not self.tasks:
            yield Problem("missing", "tasks", "which tasks to train, such as { inpaint = 1.0 }")

    @property
    def diffusion(self) -> DiffusionConfig:
        """The choices of the loss."""
        return DiffusionConfig(
            loss=self.loss,
            loss_target=self.loss_target,
            gamma_distribution=self.gamma_distribution,
            stratified=self.stratified,
            mask_norm=self.mask_norm,
            known=self.known,
        )

    @property
    def network_config(self) -> NetworkConfig:
        """The network. Raises UsageError for an unknown preset."""
        config = preset(self.network, mixing=self.mixing, image_inputs=self.kind is Kind.PALETTE)
        return replace(
            config,
            gamma_embedding=self.gamma_embedding,
            output=self.output,
            noisy_input=self.noisy_input,
            dropout=self.dropout,
        )

    @property
    def families(self) -> dict[Family, float]:
        """The tasks and their rates, in the order of ``Family``."""
        return {family: float(self.tasks[family.value]) for family in Family if family.value in self.tasks}

    def rate_at(self, step: int, rate: float | None = None) -> float:
        """The learning rate of a step, counted from 0, when it is ``rate`` (``learning_rate``) at its height."""
        rate = self.learning_rate if rate is None else rate
        rate = rate * min(1.0, (step + 1) / max(self.warm_up, 1))
        return rate * min(1.0, (self.steps - step) / self.cool_down) if self.cool_down else rate

    def cools_at(self, step: int) -> bool:
        """Whether the learning rate has begun to fall before this step."""
        return 0 < self.cool_down > self.steps - step

    def canonical(self) -> dict[str, object]:
        """Every field as plain data."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: object) -> object:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def read_recipe(table: Mapping[str, object], *, where: Path) -> Recipe:
    """The recipe of a card's ``[training]`` table (without ``took``).

    Raises InputError listing every unknown key and every value that does not fit.
    """
    recipe = schema.load(Recipe, {name: table[name] for name in table if name != "took"}, where=f"{where}: [training]")
    try:
        _ = recipe.network_config
    except UsageError as error:
        raise InputError(str(error), where=where) from error
    return recipe


def check_runs_as_trained(recipe: Recipe, card: Card) -> None:
    """Raise InputError where a card's ``[config]`` would run these weights otherwise than ``[training]`` makes them.

    What the output means, for one, is not to be seen in the weights: the images would be bad and nothing would say
    why. A class of others has a ``[config]`` of its own, which is not looked at.
    """
    kind = _RUN_BY.get(card.adapter.entry)
    if kind is None:
        return
    config = read_config(card.config, image_inputs=recipe.kind is Kind.PALETTE)
    run = config.network
    pairs: dict[str, tuple[object, object]] = {
        "kind": (recipe.kind, kind),
        "network": (recipe.network, config.preset),
        "mixing": (recipe.mixing, run.mixing),
        "gamma_embedding": (recipe.gamma_embedding, run.gamma_embedding),
        "output": (recipe.output, run.output),
        "noisy_input": (recipe.noisy_input, run.noisy_input),
    }
    if recipe.kind is Kind.PALETTE:
        pairs["known"] = recipe.known, config.known
    problems = [
        Problem("differs", name, f"[training] {_plain(there)}, [config] {_plain(here)}")
        for name, (there, here) in pairs.items()
        if there != here
    ]
    if problems:
        raise InputError(
            "a card would run its weights otherwise than it trains them",
            where=card.folder or card.name,
            problems=problems,
            next_step="let [config] and [adapter] say what [training] says",
        )
