"""What a stage of a pipeline is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners.threshold import CRITERIA
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_parts import TRUE_TAGS, Threshold


class Stage(ABC):
    """One step of a pipeline: from the folders of earlier stages to a folder of its own.

    A subclass names the stages it reads in :attr:`inputs` and does its work in
    :meth:`run`, which every worker calls.

    Args:
        name: Name of the stage and of its folder.

    Attributes:
        inputs: Names of the stages it reads.
        seed: Random seed of the experiment, set by the pipeline.
    """

    needs_every_image: ClassVar[bool] = True
    """Whether an image that is missing is refused before any work; False where the stage
    goes on without, see :class:`~wsss_plugins.engine.failures.Failures`, or reads none."""

    needs_masks: ClassVar[bool] = False
    """Whether the stage reads ground-truth masks. Masks loaded in this run are detected
    automatically. Set True if an interrupted earlier run may have read them."""

    arguments_of_speed: ClassVar[frozenset[str]] = frozenset()
    """Arguments that change how fast it is and nothing else, such as ``workers``."""

    def __init__(self, name: str) -> None:
        if not name.isidentifier():
            raise ConfigError(
                f"a stage's name must be letters, digits and _, not '{name}'",
                token=name,
            )
        self.name = name
        self.inputs: tuple[str, ...] = ()
        self.seed = 0

    @abstractmethod
    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Does the work; when it was interrupted, goes on with what is there.

        Args:
            out: Folder to write to, and nowhere else.
            inputs: Folder of each stage of :attr:`inputs`.

        Returns:
            The metrics, as plain numbers, the same for every worker.
        """

    def provenance(self) -> dict[str, Any]:
        """How the metrics were made, for people to read: data, threshold, scales ..."""
        return {}

    def card(self) -> SupervisionCard | None:
        """What this stage adds to the supervision card of its results, after it ran.

        It need not say what the code finds by itself, see
        :class:`~wsss_plugins.provenance.CardMaker`: images, masks, seed heads,
        refiners, CRFs, and all that the stages before it did. By default it says what
        :meth:`provenance` has under 'labels', 'scales', 'flip', 'threshold' and
        'convention'. None for a stage that only shows what others measured.
        """
        said = self.provenance()
        labels, scales, flip = (said.get(key) for key in ('labels', 'scales', 'flip'))
        threshold, convention = said.get('threshold'), said.get('convention')
        thresholds: tuple[Threshold, ...] = ()
        if isinstance(threshold, int | float):
            thresholds = (Threshold(self.name, 'fixed', values=(float(threshold),)),)
        elif threshold in CRITERIA:
            thresholds = (Threshold(self.name, 'label-free', str(threshold)),)
        return SupervisionCard(
            thresholds=thresholds,
            labels=labels if _is_about_tags(labels) else None,
            scales=None if scales is None else tuple(map(float, scales)),
            flip=flip,
            protocol=dict(convention=str(convention)) if convention else {},
        )

    def ground_truth_files(self) -> Sequence[Path]:
        """Files with ground-truth pixels that it reads, other than label maps."""
        return ()


def _is_about_tags(said: Any) -> bool:
    """Whether a provenance's 'labels' are the classes of images, rather than files."""
    known = ('none', TRUE_TAGS, 'those of the files')
    return said in known or str(said).startswith('predicted, ')
