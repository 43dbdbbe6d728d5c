"""The base class of stages that test explanations by changing pixels step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.stages.explanations.explanation import ExplanationStage, M
from wsss_plugins.structures.measured import Measured


class PixelTestStage(ExplanationStage[M]):
    """Measures what a classifier says of images whose pixels are changed step by step.

    The pixels are changed in the order of their relevance, which each method gives. A
    subclass defines the changes and what is measured.

    Args:
        name: Name of the stage.
        model: Name of the stage that trained the classifier, or its config.
        methods: Config of a :class:`SeedHead` for each method, by its name in the tables.
        dataset: Config of the images.
        steps: Number of steps; :attr:`default_steps` by default.
        forward_batch_size: Number of changed images in one forward pass.
        kwargs: ``input_size`` and ``batch_size``, see :class:`ExplanationStage`.
    """

    default_steps: ClassVar[int]
    """The number of steps of the paper."""

    def __init__(
        self,
        name: str,
        model: str | dict[str, Any],
        methods: dict[str, dict[str, Any]],
        dataset: dict[str, Any],
        steps: int | None = None,
        forward_batch_size: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, model, methods, dataset, **kwargs)
        self.steps = self.default_steps if steps is None else steps
        self.forward_batch_size = forward_batch_size

    def measured(self) -> Measured:
        """Declares what :class:`ExplanationStage` does, and the number of steps."""
        own, steps = super().measured(), dict(steps=str(self.steps))
        return replace(own, protocol={**own.protocol, **steps})

    def ways(self, model: WSSSClassifier) -> dict[str, Any]:
        """Arguments of the metric: how images are changed and given to the classifier.

        Args:
            model: The classifier.

        Returns:
            ``normalise``, ``steps`` and ``batch_size``.
        """

        def normalise(images: Tensor) -> Tensor:
            """Prepares RGB images in [0, 1] for the classifier."""
            return model.normalise(images * 255)

        return dict(
            normalise=normalise, steps=self.steps, batch_size=self.forward_batch_size
        )

    @staticmethod
    def logits(model: WSSSClassifier, images: Tensor) -> Tensor:
        """Logits ``(N, C)`` of normalised images ``(N, 3, H, W)``."""
        return model.class_logits(model.backbone(images))
