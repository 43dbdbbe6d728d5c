"""What a stage of a pipeline is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from wsss_plugins.errors import ConfigError
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.measured import Measured


class Stage(ABC):
    """One step of a pipeline: from the folders of earlier stages to a folder of its own.

    A subclass names the stages it reads in :attr:`inputs` and does its work in
    :meth:`run`, which every worker calls.

    Args:
        name: Name of the stage and of its folder.

    Attributes:
        inputs: Names of the stages it reads.
        seed: Random seed of the experiment, set by the pipeline.
        begun: Card of what the stage begins with, set before it runs on the first worker
            by :func:`~wsss_plugins.provenance.run_with_card`.
    """

    needs_every_image: ClassVar[bool] = True
    """Whether an image that is missing is refused before any work; False where the stage
    goes on without, see :class:`~wsss_plugins.engine.failures.Failures`, or reads none."""

    reads_photos: ClassVar[bool] = True
    """Whether it reads the photos of its data sets, so that it runs again after a change of
    one; False where it reads only ids, labels or masks."""

    reads_masks: ClassVar[bool] = True
    """Whether it reads the masks that its data sets name; False where it leaves them alone,
    so that a change of a mask does not run it again."""

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
        self.begun: SupervisionCard | None = None

    @abstractmethod
    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Does the work; when it was interrupted, goes on with what is there.

        Args:
            out: Folder to write to, and nowhere else.
            inputs: Folder of each stage of :attr:`inputs`.

        Returns:
            The metrics, as plain numbers, the same for every worker.
        """

    def parts(self) -> Sequence[object]:
        """The seed heads and refiners that this stage applies, for the card to name."""
        return ()

    def files_read(self) -> Mapping[str, Sequence[Path]]:
        """Files from outside of the work dir that it reads besides its data sets.

        Returns:
            The files by the folder or file that people know them by; after a change of one
            the stage runs again.
        """
        return {}

    def measured(self) -> Measured | None:
        """What this stage declares of its results for their supervision card.

        The images, the thresholds, the views and the image-level labels that it was told,
        see :class:`~wsss_plugins.structures.measured.Measured`. By default nothing: the
        card is then that of the first stage it reads, with the images of its config and
        the masks that it is seen to read. None for a stage that only shows what others
        measured.
        """
        return Measured()

    def provenance(self) -> dict[str, Any]:
        """What :meth:`measured` declares, for people to read; goes into the record."""
        measured = self.measured()
        return {} if measured is None else measured.words()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses methods that the contract had before, since nothing asks them."""
        super().__init_subclass__(**kwargs)
        for name in {'card', 'ground_truth_files'} & {*vars(cls)}:
            raise ConfigError(
                f'{cls.__name__}.{name}() has no effect any more: declare its content in '
                'measured(), see wsss_plugins.structures.measured.Measured'
            )
