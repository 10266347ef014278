"""A training recipe: everything that the trained weights depend on, read from a card's ``[training]`` table."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training.

    ``tasks`` are relative rates. ``batch`` is the global batch, divided among ranks and microbatches. ``ema_warm_up``
    makes the decay min(ema, (1 + step) / (10 + step)). ``cool_down`` is over how many last steps the learning rate
    falls linearly to 0; 0, the paper's, keeps it to the end. ``clip_norm`` 0 clips nothing (the paper's preset).
    """

    kind: Kind = Kind.PALETTE
    network: str = "mini32"
    mixing: Mixing = Mixing.GLOBAL
    gamma_embedding: GammaEmbedding = GammaEmbedding.SQRT_1000
    output: Output = Output.NOISE
    noisy_input: NoisyInput = NoisyInput.PLAIN
    dropout: float = 0.0
    tasks: Mapping[str, float] = field(default_factory=dict)
    source: SourceKind = SourceKind.SCENES32
    steps: int = 1_000_000
    batch: int = 1024
    learning_rate: float = 1e-4
    warm_up: int = 10_000
    cool_down: int = 0
    optimizer: Optimizer = Optimizer.ADAM
    muon_rate: float = 0.02
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    ema: float = 0.9999
    ema_warm_up: bool = False
    loss: LossNorm = LossNorm.L2
    loss_target: LossTarget = LossTarget.NOISE
    gamma_distribution: GammaDistribution = GammaDistribution.PIECEWISE
    stratified: bool = False
    mask_norm: MaskNorm = MaskNorm.IMAGE
    known: KnownRegion = KnownRegion.CLEAN
    share_fill_noise: bool = False
    seed: int = 0

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
            share_fill_noise=self.share_fill_noise,
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


def _read(value: object, wanted: Any) -> Any:  # noqa: ANN401
    """``value`` from TOML as the type of a field. Raises ValueError saying what was expected."""
    origin = get_origin(wanted)
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        if value not in [member.value for member in wanted]:
            raise ValueError("one of " + ", ".join(member.value for member in wanted))
        return wanted(str(value))
    if wanted is bool:
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value
    if wanted is int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError("a whole number, 0 or more")
        return value
    if wanted is float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
            raise ValueError("a number, 0 or more")
        return float(value)
    if wanted is str:
        if not isinstance(value, str):
            raise ValueError("text")
        return value
    if origin is tuple:
        kinds = get_args(wanted)
        if not isinstance(value, list) or len(value) != len(kinds):
            raise ValueError(f"a list of {len(kinds)} numbers")
        return tuple(_read(one, kind) for one, kind in zip(value, kinds, strict=True))
    if isinstance(value, dict):
        known = [family.value for family in Family]
        if not value or not set(value) <= set(known):
            raise ValueError("tasks out of " + ", ".join(known) + ", each with its rate")
        return {str(name): _read(rate, float) for name, rate in value.items()}
    raise ValueError("tasks with their rates, such as { inpaint = 1.0 }" if origin is not UnionType else str(wanted))


def read_recipe(table: Mapping[str, object], *, where: Path) -> Recipe:
    """The recipe of a card's ``[training]`` table (without ``took``).

    Raises InputError listing every unknown key and every value that does not fit.
    """
    hints = get_type_hints(Recipe)
    known = {one.name for one in fields(Recipe)}
    values: dict[str, Any] = {}
    problems = []
    for name, value in table.items():
        if name == "took":
            continue
        if name not in known:
            problems.append(Problem("unknown", f"training.{name}", f"known are {', '.join(sorted(known))}"))
            continue
        try:
            values[name] = _read(value, hints[name])
        except ValueError as error:
            problems.append(Problem("value", f"training.{name}", f"expected {error}, found {value!r}"))
    if "tasks" not in table:
        problems.append(Problem("missing", "training.tasks", "which tasks to train, such as { inpaint = 1.0 }"))
    recipe = Recipe(**values)
    limits = {
        "batch": (recipe.batch >= 1, "1 or more"),
        "tasks": (not recipe.tasks or sum(recipe.tasks.values()) > 0, "one rate above 0"),
        "betas": (max(recipe.betas) < 1, "numbers below 1"),
        "ema": (recipe.ema <= 1, "at most 1"),
        "dropout": (recipe.dropout < 1, "below 1"),
        "seed": (recipe.seed < 1 << 63, "below 2**63"),
    }
    problems += [
        Problem("value", f"training.{name}", f"expected {expected}, found {getattr(recipe, name)!r}")
        for name, (holds, expected) in limits.items()
        if not holds
    ]
    if problems:
        raise InputError(
            "a card's training recipe cannot be used",
            where=where,
            problems=problems,
            next_step="correct these lines of the card",
        )
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
        pairs["share_fill_noise"] = recipe.share_fill_noise, config.share_fill_noise
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
