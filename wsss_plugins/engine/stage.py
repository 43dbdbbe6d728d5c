"""The base class of the stages of a pipeline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners.threshold import CRITERIA
from wsss_plugins.structures.card import (
    Source,
    SupervisionCard,
    Tags,
    Threshold,
    read,
)
from wsss_plugins.structures.measured import Measured


class Stage(ABC):
    """One step of a pipeline, which reads folders of earlier stages and writes its own.

    A subclass names the stages it reads in :attr:`inputs` and does its work in
    :meth:`run`, which every worker calls.

    Args:
        name: Name of the stage and of its folder.

    Attributes:
        inputs: Names of the stages that this stage reads.
        seed: Random seed of the experiment, set by the pipeline.
        begun: Supervision card of the stage's inputs and initial weights.
            :func:`~wsss_plugins.provenance.run.run_with_card` sets it on the first worker
            before the stage runs.

    Raises:
        ConfigError: ``name`` is not made of letters, digits and underscores, or begins
            with a digit.
    """

    needs_every_image: ClassVar[bool] = True
    """True if a missing image is an error before any stage runs. False if the stage skips
    missing images (see :class:`~wsss_plugins.engine.failures.Failures`), or reads none."""

    reads_photos: ClassVar[bool] = True
    """True if the stage reads the photos of its data sets, so that it runs again if one of
    them changes. False if it reads only ids, labels or masks."""

    reads_masks: ClassVar[bool] = True
    """True if the stage reads the masks of its data sets, so that it runs again if one of
    them changes. False if it does not read them."""

    depends_on_seed: bool = True
    """False if the stage computes the same for every random seed of the experiment: it
    then has seed 0, and work dirs of other seeds can have its folder (a copy or a link)."""

    arguments_of_speed: ClassVar[frozenset[str]] = frozenset()
    """Names of arguments that change only the speed, such as ``workers``."""

    def __init__(self, name: str) -> None:
        if not name.isidentifier():
            raise ConfigError(
                f"a stage's name must be letters, digits and _, not '{name}'",
                token=name,
            )
        self.name = name
        self.inputs: tuple[str, ...] = ()
        self.seed = 0
        self.begun: SupervisionCard | None = None

    @abstractmethod
    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Does the work of the stage; continues from existing files after an interruption.

        Args:
            out: Folder of this stage. The stage writes nowhere else.
            inputs: Folder of each stage in :attr:`inputs`, by name.

        Returns:
            The metrics, as plain numbers, equal on every worker.
        """

    def parts(self) -> Sequence[object]:
        """The seed heads and refiners that this stage applies; the card names them."""
        return ()

    def files_read(self) -> Mapping[str, Sequence[Path]]:
        """Files from outside of the work dir that the stage reads besides its data sets.

        Returns:
            Lists of files, by the name of their folder or file in messages. If one of
            them changes, the stage runs again.
        """
        return {}

    def measured(self) -> Measured | None:
        """Declares facts about the results of this stage, for their supervision card.

        It declares the images, the thresholds, the views and the image-level labels that
        it uses, see :class:`~wsss_plugins.structures.measured.Measured`. By default it
        declares nothing: the card is then that of the first stage in :attr:`inputs`, with
        the images in this stage's config and the masks that are loaded while it runs. A
        stage that measures nothing, such as a report, returns None and gets no card.
        """
        return Measured()

    def declared(self) -> Measured | None:
        """The declaration of the stage, which the maker of its card reads.

        It is that of :meth:`measured`. A stage that was written for an earlier version has
        no ``measured()``: the keys 'labels', 'scales', 'flip', 'threshold' and 'convention'
        of its :meth:`provenance` are then taken as its declaration.
        """
        kind = type(self)
        if kind.measured is not Stage.measured or kind.provenance is Stage.provenance:
            return self.measured()
        said = self.provenance()
        scales, convention = said.get('scales'), said.get('convention')
        labels, threshold = read(Tags, str(said.get('labels'))), said.get('threshold')
        found: tuple[Threshold, ...] = ()
        if isinstance(threshold, int | float):
            found = (Threshold(self.name, Source.FIXED, values=(float(threshold),)),)
        elif threshold in CRITERIA:
            found = (Threshold(self.name, Source.LABEL_FREE, str(threshold)),)
        return Measured(
            masks=bool(getattr(self, 'needs_masks', False)),
            thresholds=found,
            labels=None if labels.kind in (Tags.OTHER, Tags.UNKNOWN) else labels,
            scales=None if scales is None else tuple(map(float, scales)),
            flip=said.get('flip'),
            protocol=dict(convention=str(convention)) if convention else {},
        )

    def provenance(self) -> dict[str, Any]:
        """The declaration of :meth:`measured` as plain JSON, which the record holds."""
        measured = self.measured()
        return {} if measured is None else measured.words()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a subclass with a method that an earlier contract had.

        Raises:
            ConfigError: The class defines ``card`` or ``ground_truth_files``, which are no
                longer called.
        """
        super().__init_subclass__(**kwargs)
        for name in {'card', 'ground_truth_files'} & {*vars(cls)}:
            raise ConfigError(
                f'{cls.__name__}.{name}() has no effect any more: declare its content in '
                'measured(), see wsss_plugins.structures.measured.Measured'
            )
