"""How faithful the maps of a grid are to their classifiers: what is measured, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsss_plugins.arguments import check_names
from wsss_plugins.errors import ConfigError
from wsss_plugins.stages.explanations import (
    InsertionDeletionTestStage,
    PerturbationTestStage,
)

LEAST = dict(levels=2, input_size=8)
"""The lowest numbers that are not 1: a level with all pixels, and a side to blur."""

METHOD = 'map'
"""The name of the seed head in its stages, the same for all, so that equal heads share."""


@dataclass(frozen=True)
class Measure:
    """A column of the table.

    Attributes:
        stage: End of the name of the stage that measures it.
        high_is_good: Whether a higher number means a more faithful map.
        text: What it is.
    """

    stage: str
    high_is_good: bool
    text: str


INSERTION_DELETION, PERTURBATION = 'insertion_deletion', 'perturbation'

MEASURES = {
    'insertion': Measure(
        INSERTION_DELETION,
        True,
        'mean probability of the class while its most relevant pixels are restored in a '
        'blurred photo',
    ),
    'deletion': Measure(
        INSERTION_DELETION,
        False,
        'mean probability of the class while its most relevant pixels are deleted',
    ),
    'positive': Measure(
        PERTURBATION,
        False,
        'area under the accuracy while the most relevant pixels become black',
    ),
    'negative': Measure(
        PERTURBATION,
        True,
        'area under the accuracy while the least relevant pixels become black',
    ),
}
"""The measures by the name of their column, which no refiner may have."""


@dataclass(frozen=True)
class Faithfulness:
    """The option ``faithfulness`` of a grid: on which photos and how finely it is measured.

    The class that is explained is the image-level label with the highest logit. A photo
    costs ``2 * steps + 2 * levels + 1`` forward passes and two maps for each seed head.

    Attributes:
        photos: Number of photos, drawn at random from the grid's ``images``, the same
            ones for every cell; all if there are no more.
        steps: Steps of insertion and of deletion.
        levels: Levels of perturbation.
        input_size: ``(H, W)`` to which photos are resized without keeping their aspect
            ratio.
        batch_size: Number of photos that are explained at once.
        forward_batch_size: Number of changed photos in one forward pass.

    Raises:
        ConfigError: A value is no whole number, or too low (see :data:`LEAST`).
    """

    photos: int = 50
    steps: int = 16
    levels: int = 10
    input_size: tuple[int, int] = (224, 224)
    batch_size: int = 10
    forward_batch_size: int = 8

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: A value is not allowed; the message names its key.
        """
        size = self.input_size
        if not isinstance(size, list | tuple) or len(size) != 2:
            raise ConfigError(
                f'matrix.faithfulness.input_size must be (H, W), not {size!r}',
                token='input_size',
            )
        numbers = {key: value for key, value in vars(self).items() if value is not size}
        for key, value in [*numbers.items(), *(('input_size', side) for side in size)]:
            least = LEAST.get(key, 1)
            if type(value) is not int or value < least:
                raise ConfigError(
                    f'matrix.faithfulness.{key} must be whole numbers from {least} on, '
                    f'not {value!r}',
                    token=key,
                )

    @classmethod
    def of(cls, given: Any) -> Faithfulness:
        """Reads the option of a config.

        Raises:
            ConfigError: ``given`` is no dict, or has an unknown key or a value that is not
                allowed.
        """
        if not isinstance(given, Mapping):
            raise ConfigError(
                'matrix.faithfulness must be a dict, which may be empty, not '
                f'{given!r}',
                token='faithfulness',
            )
        check_names(cls, given)
        return cls(**given)

    def stages(
        self, head: Mapping[str, Any], images: Mapping[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """Configs of the stages of a seed head, without their model, by end of their name.

        Args:
            head: Config of the seed head.
            images: Config of the images with their image-level labels.
        """
        shared = dict(
            methods={METHOD: head},
            dataset=dict(images, sample=self.photos),
            input_size=tuple(self.input_size),
            batch_size=self.batch_size,
            forward_batch_size=self.forward_batch_size,
        )
        return {
            INSERTION_DELETION: dict(
                shared,
                type=InsertionDeletionTestStage,
                steps=self.steps,
                explained='target',
                probability='sigmoid',
            ),
            PERTURBATION: dict(
                shared,
                type=PerturbationTestStage,
                steps=self.levels,
                explained=['target'],
            ),
        }
