"""Makes confident labels from seeds by two thresholds, on which IRNet is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners import ConstantBackground, DenseCRF
from wsss_plugins.registry import STAGES
from wsss_plugins.stages.refine_jobs import Refined
from wsss_plugins.stages.two_backgrounds import TwoBackgroundStage, TwoBackgroundWorker
from wsss_plugins.structures import agreed_labels, save_label_map
from wsss_plugins.structures.card import Source, Threshold
from wsss_plugins.structures.layout import label_path
from wsss_plugins.structures.measured import Measured


class AgreedWorker(TwoBackgroundWorker):
    """Writes the labels that a high and a low background agree on."""

    parts = ('high', 'low')

    def save(self, name: str, refined: Refined) -> None:
        """Writes the labels of each background, and then that of both."""
        super().save(name, refined)
        high, low = (seed.to_label().cpu().numpy() for seed in refined)
        save_label_map(label_path(self.task.out, name), agreed_labels(high, low))


@STAGES.register_module()
class AgreedLabelStage(TwoBackgroundStage):
    """Refines seeds with a high and a low background, and keeps labels on which both agree.

    A pixel of ``labels/<id>.png`` is an object if it is one under the high background,
    background if it is background under both, and 255 (ignored) elsewhere. The labels of
    each background alone are in ``high/`` and ``low/``. Workers, failures and
    interruptions are handled as in :class:`RefineStage`.

    Source: Ahn, Cho and Kwak, "Weakly Supervised Learning of Instance Segmentation with
    Inter-pixel Relations" (IRN), CVPR 2019, section 4.1, with the numbers of its code.

    Args:
        name: Name of the stage.
        seeds: Name of the stage that made the seeds.
        dataset: Config of the images; masks are not read.
        high: Score of the background above which a pixel is an object.
        low: Score of the background up to which a pixel is background.
        refiners: Configs of the refiners, in order. Exactly one is a
            :class:`ConstantBackground`, whose ``threshold`` the stage fills in. By default
            a :class:`ConstantBackground` and IRN's dense CRF.
        workers: Number of processes, see :class:`RefineStage`.
        batch_size: Number of images per batch, see :class:`RefineStage`.

    Raises:
        ConfigError: ``0 <= low < high <= 1`` does not hold, or ``refiners`` has no or more
            than one :class:`ConstantBackground`.
    """

    policy, argument, combined_by = ConstantBackground, 'threshold', AgreedWorker

    def __init__(
        self,
        name: str,
        seeds: str,
        dataset: dict[str, Any],
        high: float = 0.30,
        low: float = 0.05,
        refiners: Sequence[dict[str, Any]] = (
            dict(type=ConstantBackground),
            dict(type=DenseCRF, preset='irn'),
        ),
        workers: int | None = None,
        batch_size: int = 1,
    ) -> None:
        if not 0 <= low < high <= 1:
            raise ConfigError(
                f"stage '{name}' needs 0 <= low < high <= 1, not {low} and {high}",
                token='high',
            )
        numbers = (float(high), float(low))
        super().__init__(name, seeds, dataset, numbers, refiners, workers, batch_size)

    def measured(self) -> Measured:
        """Declares the two thresholds as fixed."""
        fixed = Threshold(self.name, Source.FIXED, values=self.numbers)
        return replace(super().measured(), thresholds=(fixed,))
