"""Ablations inside a network: what a layer gives on the calibration images, and a forward for each ablation."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lightning_robust.cli.ablate_answers import AblatedSet
from lightning_robust.cli.ablate_plan import Planned
from lightning_robust.cli.evaluate_models import LoadedModels
from lightning_robust.cli.evaluate_sets import OrderedLoader
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.evaluate_points import Point, evaluate_points
from lightning_robust.models.evaluate_rules import AnswerRule, answer_by
from lightning_robust.signatures import ActivationProbe, expand_layers, measured_pass
from lightning_robust.signatures.layer_ablation import FeatureAblation, LayerAblation, PositionMoments

__all__ = ["LayerReader", "checked_layer", "refuse_passed_by"]


def checked_layer(model: nn.Module, layer: str) -> str:
    """The one layer that a text names.

    Args:
        model: The network.
        layer: As typed.

    Raises:
        UserError: If it names none or several, or the output of the network itself.
    """
    with from_user(ValueError):
        found = expand_layers(model, [layer])
    if len(found) != 1:
        raise UserError(f"--layer {layer} names {len(found)} layers, the first {found[0]}: name one")
    if found[0] in ("", "forward"):
        raise UserError("--layer takes a layer inside the network, such as encoder.visual.layer3")
    return found[0]


def refuse_passed_by(layer: str, own_heads: Mapping[str, Tensor]) -> None:
    """Refuse the model's own head, or what it reads, where a set is answered by another head.

    Args:
        layer: Name of the layer.
        own_heads: By set, a head of its own class names.

    Raises:
        UserError: If a set would be answered without it.
    """
    if own_heads and layer.removesuffix(":input").split(".")[0] == "head":
        raise UserError(
            f"{next(iter(own_heads))} is answered by a head of its own class names, which passes --layer {layer} by: "
            "leave --layer out, which ablates h, what every head reads"
        )


class LayerReader:
    """Reads images for one layer.

    Args:
        opened: Data, sets and device.
        loaded: The model, in its place.
        layer: Name of the layer.
        seen: Called with numbers of images, for progress.
    """

    def __init__(
        self, opened: Opened, loaded: LoadedModels, layer: str, seen: Callable[[int], None] | None = None
    ) -> None:
        self._opened, self._loaded, self._layer, self._seen = opened, loaded, layer, seen
        self._point: Point = loaded.points[loaded.candidates[0].key]
        self.form = ""
        self.unreadable: tuple[str, ...] = ()

    def calibration(self) -> tuple[Tensor, PositionMoments]:
        """What the layer gives on the calibration images.

        Returns:
            One vector for each image, `(n, d)`, and the moments of every feature over images and positions.

        Raises:
            UserError: If no image can be read, or the layer gives nothing that can be measured.
        """
        loader = self._opened.calibration_loader(self._loaded.transform)
        moments, rows = list[PositionMoments](), list[Tensor]()

        def hidden(_: str, values: Tensor) -> None:
            if not moments:
                moments.append(PositionMoments(values.shape[1 if values.ndim == 4 else -1]))
            moments[0].update(values)

        probe = ActivationProbe(
            self._loaded.module, [self._layer], on_features=lambda _, h: rows.append(h.float().cpu()), on_hidden=hidden
        )
        model = self._point()
        with (
            from_user(ValueError, RuntimeError, TypeError),
            measured_pass(model),
            self._called(),
            probe,
            _without_warnings(),
        ):
            for images, *_ in loader.batches:
                probe.expect(len(images))
                model(images.to(self._opened.device))
                if self._seen is not None:
                    self._seen(len(images))
        if not rows:
            raise UserError("none of the calibration images can be read, so no unit can be chosen")
        self.form, self.unreadable = probe.forms[self._layer].words, loader.unreadable
        return torch.cat(rows), moments[0]

    @contextmanager
    def _called(self) -> Iterator[None]:
        """A layer that the forward pass goes around gets a sentence on what to type instead."""
        try:
            yield
        except RuntimeError as error:
            if "never fired" not in str(error):
                raise
            outer = self._layer.removesuffix(":input").rpartition(".")[0]
            instead = f", such as {outer}, which it is in" if outer else ""
            raise UserError(
                f"--layer {self._layer} is never called in the forward pass, which may use its weights without it: "
                f"name another layer{instead}"
            ) from error

    def answers(
        self,
        ablations: Sequence[Planned],
        rules: Mapping[str, AnswerRule],
        asked: Mapping[str, AnswerRule],
        members: Sequence[int],
    ) -> list[AblatedSet]:
        """Answers on every set; each image is read once, and goes through the network once for each ablation.

        Args:
            ablations: All of them.
            rules: By set.
            asked: What is asked of a reference image.
            members: Features whose scores are kept.

        Raises:
            UserError: If a set has no image that can be read, or the layer's features cannot be changed.
        """
        loaders = self._opened.judged_loaders(self._loaded.transform)
        model, found = self._loaded.module, list[AblatedSet]()
        with from_user(ValueError, TypeError), measured_pass(model), LayerAblation(model, self._layer) as hook:
            for index, (one, loader) in enumerate(zip(self._opened.sets, loaders, strict=True)):
                own = asked if index == 0 else {"": rules[one.name]}
                found.append(self._set(one.name, loader, own, hook, ablations, members))
        return found

    def _set(
        self,
        name: str,
        loader: OrderedLoader,
        rules: Mapping[str, AnswerRule],
        hook: LayerAblation,
        ablations: Sequence[Planned],
        members: Sequence[int],
    ) -> AblatedSet:
        places, scores, plain = list[Tensor](), list[Tensor](), answer_by(rules)
        probe = ActivationProbe(
            self._loaded.module, [self._layer], on_features=lambda _, h: scores.append(h[:, list(members)].cpu())
        )

        def prepare(batch: Any) -> Any:
            places.append(batch[2])
            return batch[0].to(self._opened.device), batch[1].to(self._opened.device)

        def answer(model: nn.Module, batch: Any) -> tuple[Mapping[str, Tensor], Tensor]:
            if hook.current is not None:
                return plain(model, batch)
            with probe:
                probe.expect(len(batch[0]))
                return plain(model, batch)

        points = [self._ready(hook, ablation) for ablation in (None, *(plan.of_layer for plan in ablations))]
        with _without_warnings():
            found = evaluate_points(points, loader.batches, answer, prepare, name=name, seen=self._seen)
        return AblatedSet(
            name, found.predictions, found.targets, torch.cat(places).long(), torch.cat(scores).double(),
            loader.unreadable,
        )  # fmt: skip

    def _ready(self, hook: LayerAblation, ablation: FeatureAblation | None) -> Point:
        def ready() -> nn.Module:
            hook.current = ablation
            return self._point()

        return ready


@contextmanager
def _without_warnings() -> Iterator[None]:
    """The record names each image that is left out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "An image is left out")
        yield
