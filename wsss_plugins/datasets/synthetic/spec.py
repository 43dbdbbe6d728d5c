"""Classes of the synthetic data set, and the parameters of its scenes."""

from __future__ import annotations

from dataclasses import dataclass

from wsss_plugins.errors import DataError

SYNTHETIC_CLASSES = ('animal', 'bird', 'fish', 'person', 'plant', 'vehicle')
"""Names of the foreground classes; class c has the value c + 1 in a label map."""

BODY_COLOURS = {
    'rose': (150, 92, 100),
    'sand': (160, 140, 96),
    'moss': (98, 134, 84),
    'sea': (84, 140, 134),
    'slate': (92, 108, 156),
    'plum': (136, 94, 150),
}
"""Colours of the bodies of :class:`RecombinedSpec`, RGB; none is of the six classes."""

HEAD_COLOURS = {
    'orange': (236, 136, 40),
    'lime': (150, 220, 50),
    'mint': (60, 220, 150),
    'azure': (50, 160, 240),
    'violet': (140, 70, 230),
    'pink': (240, 80, 180),
}
"""Colours of the heads of :class:`RecombinedSpec`, RGB; none is of the six classes."""

SPLITS = ('train', 'val')


@dataclass(frozen=True)
class SyntheticSpec:
    """Parameters of the scenes. Image ``index`` of a split depends on nothing else.

    Attributes:
        size: ``(H, W)`` of an image in pixels.
        seed: Seed of the whole data set.
        scale: Range of an object's longer side, as a part of the image's shorter side.
        head: Range of a head's diameter, as a part of the object's length.
        headless: Share of the objects whose head is missing; they keep their label.
        hue_bias: Share of the objects that have the body hue their class prefers;
            the others take any of the shared hues.
        rotation: Largest rotation of an object to either side, in radians.
        objects: Probabilities of one, two, three ... objects.
        distractors: Most blobs of a body's hue and texture behind the objects.
        decoys: Most small blobs of a head's colour behind the objects.
        occluder: Probability that one more blob hides a part of an object.
        min_visible: Fewest pixels an object must show, counted at 64 x 64 pixels;
            what is left of one that shows fewer is ignored.
        ignore_border: Width of the ignored ring along every outline, in pixels. None
            by default: legs are 2 px wide at 64 px and a ring would swallow them.
    """

    size: tuple[int, int] = (64, 64)
    seed: int = 0
    scale: tuple[float, float] = (0.3, 0.5)
    head: tuple[float, float] = (0.2, 0.3)
    headless: float = 0.1
    hue_bias: float = 0.8
    rotation: float = 0.5
    objects: tuple[float, ...] = (0.5, 0.35, 0.15)
    distractors: int = 3
    decoys: int = 3
    occluder: float = 0.25
    min_visible: int = 12
    ignore_border: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the foreground classes."""
        return SYNTHETIC_CLASSES

    @property
    def stream(self) -> tuple[int, ...]:
        """Added to what seeds an image, so that no two kinds of scenes share grounds."""
        return ()

    def __post_init__(self) -> None:
        """Refuses settings with which no image can be drawn.

        Raises:
            DataError: A side is not in 32 to 2048, the seed is below 0, or the
                probabilities of the numbers of objects do not sum to 1.
        """
        if min(self.size) < 32 or max(self.size) > 2048:
            raise DataError(
                f'synthetic images of {self.size[0]} x {self.size[1]} pixels cannot be '
                'drawn: choose a height and a width from 32 to 2048'
            )
        if self.seed < 0:
            raise DataError(f'the seed is {self.seed}: choose 0 or more')
        if abs(sum(self.objects) - 1) > 1e-6:
            raise DataError(
                f'the probabilities {self.objects} of one, two ... objects must sum to 1'
            )


@dataclass(frozen=True)
class RecombinedSpec(SyntheticSpec):
    """Scenes for pretraining: recombined parts of the figures in new colours.

    Every object is the body of one figure with the head of another, so none of the six
    classes is ever shown. Its class is the pair of the colours of body and head, 36 in
    all. As each colour may be on several objects, and on blobs that are no object,
    the labels of an image cannot be told without seeing which head is on which body.

    Attributes:
        recombined: Version of these scenes.
    """

    objects: tuple[float, ...] = (0.2, 0.4, 0.4)
    headless: float = 0.0
    occluder: float = 0.1
    recombined: int = 1

    @property
    def classes(self) -> tuple[str, ...]:
        """Such as ``'rose_lime'``: a rose body with a lime head."""
        return tuple(f'{body}_{head}' for body in BODY_COLOURS for head in HEAD_COLOURS)

    @property
    def stream(self) -> tuple[int, ...]:
        """One of its own."""
        return (self.recombined,)
