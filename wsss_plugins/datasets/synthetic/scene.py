"""One synthetic scene: background, distractors, decoys, objects, an occluder."""

from __future__ import annotations

import cmath
from dataclasses import dataclass

import cv2
import numpy as np

from wsss_plugins.datasets.synthetic.figures import Part, Tone, blob, figure
from wsss_plugins.datasets.synthetic.raster import fill_polygons
from wsss_plugins.datasets.synthetic.spec import (
    BODY_COLOURS,
    HEAD_COLOURS,
    SPLITS,
    SYNTHETIC_CLASSES,
    RecombinedSpec,
    SyntheticSpec,
)
from wsss_plugins.datasets.synthetic.texture import (
    background,
    body_texture,
    pink_noise,
)
from wsss_plugins.structures import IGNORE

# Body hues, shared: brown, teal, olive, mauve.
BODY_HUES = np.array([(150, 108, 76), (84, 130, 140), (128, 140, 70), (140, 106, 138)])
_PREFERRED_HUE = dict(animal=0, person=0, bird=1, fish=1, plant=2, vehicle=2)

_CREAM, _BLACK, _BLUE = (244, 226, 196), (38, 32, 34), (48, 84, 206)
_RED, _YELLOW = (212, 48, 44), (246, 204, 48)
HEAD_HUES = np.array([_CREAM, _BLACK, _BLUE, _RED, _YELLOW])
# Main colour and accent of the heads: only the pair and its layout tell the class.
_HEAD_PAIR = dict(
    animal=(_CREAM, _BLACK),
    person=(_CREAM, _RED),
    fish=(_BLUE, _CREAM),
    vehicle=(_BLUE, _YELLOW),
    bird=(_RED, _YELLOW),
    plant=(_YELLOW, _BLACK),
)


@dataclass(frozen=True)
class SyntheticObject:
    """An object that can be seen.

    Attributes:
        name: Its class.
        box: Inclusive ``(xmin, ymin, xmax, ymax)`` of its visible pixels, counted from
            1 as in VOC's annotations.
        headless: Whether it lacks its head.
    """

    name: str
    box: tuple[int, int, int, int]
    headless: bool


@dataclass(frozen=True)
class Scene:
    """A synthetic photo and what it shows.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        label: ``(H, W)`` uint8 label map.
        number: ``(H, W)`` uint8: 0 background, otherwise the number of the object in
            ``objects``, counted from 1; 255 where the label map has it.
        objects: The objects that can be seen.
    """

    image: np.ndarray
    label: np.ndarray
    number: np.ndarray
    objects: tuple[SyntheticObject, ...]


class _Painter:
    """A canvas of twice the image's size, and which object each of its pixels shows."""

    hues, head_colours = BODY_HUES, HEAD_HUES

    def __init__(self, spec: SyntheticSpec, rng: np.random.Generator) -> None:
        self.spec, self.rng = spec, rng
        self.size = 2 * spec.size[0], 2 * spec.size[1]
        self.side = min(self.size)
        self.canvas = background(rng, self.size).astype(np.uint8)
        self.owner = np.zeros(self.size, np.uint8)
        self._noise = pink_noise(rng, self.size, 1)[..., 0]

    def draw(self, low: float, high: float) -> float:
        """A number from a range."""
        return low + (high - low) * float(self.rng.random())

    def place(self) -> complex:
        """A point of the canvas, off the margin."""
        height, width = self.size
        return complex(self.draw(0.15, 0.85) * width, self.draw(0.15, 0.85) * height)

    def hue(self, name: str | None = None) -> np.ndarray:
        """A body colour ``(3,)``, biased when a class is given."""
        chosen = int(self.rng.integers(len(self.hues)))
        if name is not None and self.rng.random() < self.spec.hue_bias:
            chosen = _PREFERRED_HUE[name]
        return self.hues[chosen] + self.rng.integers(-14, 15, 3)

    def paint(
        self,
        parts: list[Part],
        pose: complex,
        at: complex,
        tones: np.ndarray,
        number: int,
    ) -> None:
        """Paints parts, rotated and scaled by ``pose``, in the colours ``(7, 3)``."""
        outlines = [np.asarray(outline * pose + at) for _, outline in parts]
        points = np.concatenate(outlines)
        height, width = self.size
        left, top = max(0, int(points.real.min())), max(0, int(points.imag.min()))
        right = min(width, int(points.real.max()) + 2)
        bottom = min(height, int(points.imag.max()) + 2)
        if right <= left or bottom <= top:
            return
        window = slice(top, bottom), slice(left, right)
        layer = fill_polygons(
            (bottom - top, right - left),
            [outline - complex(left, top) for outline in outlines],
            [tone for tone, _ in parts],
        )
        shade = body_texture(self.rng, self._noise)[window]
        rows = np.arange(bottom - top, dtype=np.int32)[:, None]
        shade = shade + 40 - rows * 80 // (bottom - top)  # light falls from above
        flat = 232 + (shade >> 4)  # heads are hardly textured
        shade = np.where(layer >= Tone.MAIN, flat, shade)
        colours = np.clip(tones[layer] * shade[..., None] >> 8, 0, 255)
        seen = layer > 0
        self.canvas[window][seen] = colours[seen]
        self.owner[window][seen] = number

    def body_tones(self, name: str | None = None) -> np.ndarray:
        """Colours ``(7, 3)`` by :class:`Tone`; of the body only, without a class."""
        tones = np.zeros((len(Tone) + 1, 3), np.int32)
        hue = self.hue(name)
        tones[Tone.FAR], tones[Tone.BODY] = hue * 3 // 4, hue
        tones[Tone.NEAR] = hue * 9 // 8
        if name is not None:
            jitter = self.rng.integers(-16, 17, (2, 3))
            tones[[Tone.MAIN, Tone.ACCENT]] = np.array(_HEAD_PAIR[name]) + jitter
            tones[Tone.DARK] = _BLACK
        return tones

    def blob(self, low: float, high: float, tones: np.ndarray, at: complex) -> None:
        """Paints a blob of background, its diameter drawn from a range of sides."""
        pose = cmath.rect(self.draw(low, high) * self.side, self.draw(-3, 3))
        stretch = self.draw(0.35, 1.0)
        outline = blob(self.draw)
        outline = outline.real + 1j * stretch * outline.imag
        self.paint([(Tone.BODY, outline)], pose, at, tones, 0)

    def decoy(self) -> None:
        """Paints a small blob in the colour of a head or of its accent."""
        tones = np.zeros((len(Tone) + 1, 3), np.int32)
        colour = self.head_colours[self.rng.integers(len(self.head_colours))]
        tones[Tone.BODY] = colour + self.rng.integers(-16, 17, 3)
        self.blob(0.05, 0.13, tones, self.place())

    def object(self, number: int, at: complex) -> tuple[str, bool]:
        """Paints an object of any class; returns the class and whether it is headless."""
        name = SYNTHETIC_CLASSES[self.rng.integers(len(SYNTHETIC_CLASSES))]
        headless = bool(self.rng.random() < self.spec.headless)
        parts = figure(name, self.draw, self.draw(*self.spec.head), headless)
        parts, pose = self.pose(parts)
        self.paint(parts, pose, at, self.body_tones(name), number)
        return name, headless

    def pose(self, parts: list[Part]) -> tuple[list[Part], complex]:
        """The parts, mirrored or not, with their rotation and scale."""
        if self.rng.random() < 0.5:
            parts = [(tone, -outline.conj()) for tone, outline in parts]
        turn = self.draw(-self.spec.rotation, self.spec.rotation)
        return parts, cmath.rect(self.draw(*self.spec.scale) * self.side, turn)


class _Recombiner(_Painter):
    """Paints the objects of :class:`RecombinedSpec`."""

    hues = np.array(list(BODY_COLOURS.values()))
    head_colours = np.array(list(HEAD_COLOURS.values()))

    def object(self, number: int, at: complex) -> tuple[str, bool]:
        """Paints a body with the head of another figure; returns its class, False."""
        kinds = len(SYNTHETIC_CLASSES)
        body = int(self.rng.integers(kinds))
        head = (body + int(self.rng.integers(1, kinds))) % kinds
        names = SYNTHETIC_CLASSES[body], SYNTHETIC_CLASSES[head]
        size = self.draw(*self.spec.head)
        parts, pose = self.pose(figure(names[0], self.draw, size, head_of=names[1]))
        index = int(self.rng.integers(len(self.spec.classes)))
        tones = self._tones(*divmod(index, len(HEAD_COLOURS)))
        self.paint(parts, pose, at, tones, number)
        return self.spec.classes[index], False

    def _tones(self, body: int, head: int) -> np.ndarray:
        """Colours ``(7, 3)``: those of the class, the accent pale or dark."""
        hue = self.hues[body] + self.rng.integers(-14, 15, 3)
        main = self.head_colours[head] + self.rng.integers(-14, 15, 3)
        accent = np.array((_CREAM, _BLACK)[self.rng.integers(2)])
        body_tones = [hue * 3 // 4, hue, hue * 9 // 8]
        return np.array([hue * 0, *body_tones, main, accent, _BLACK], np.int32)


def _spread(painter: _Painter, count: int) -> list[complex]:
    """Places objects so that they may overlap but rarely hide each other."""
    places: list[complex] = []
    for _ in range(count):
        tries = [painter.place() for _ in range(4)]
        places.append(
            max(tries, key=lambda p: min((abs(p - q) for q in places), default=0.0))
            if painter.rng.random() < 0.7
            else tries[0]
        )
    return places


def _quads(values: np.ndarray) -> np.ndarray:
    """Sums of 2 x 2 pixels."""
    rows = values[::2] + values[1::2]
    return rows[:, ::2] + rows[:, 1::2]


def _label(
    spec: SyntheticSpec, owner: np.ndarray, painted: list[tuple[str, bool]]
) -> tuple[np.ndarray, np.ndarray, tuple[SyntheticObject, ...]]:
    """Reduces the owners to label map, map of objects, and objects that one can see."""
    height, width = spec.size
    label, found = np.zeros(spec.size, np.uint8), np.zeros(spec.size, np.uint8)
    fewest = max(1, spec.min_visible * height * width // 4096)
    objects = []
    for number, (name, headless) in enumerate(painted, 1):
        visible = _quads((owner == number).view(np.uint8)) >= 2
        if visible.sum() < fewest:
            label[visible] = IGNORE
            continue
        label[visible] = spec.classes.index(name) + 1
        y, x = (np.flatnonzero(visible.any(axis)) for axis in (1, 0))
        box = int(x[0]) + 1, int(y[0]) + 1, int(x[-1]) + 1, int(y[-1]) + 1
        objects.append(SyntheticObject(name, box, headless))
        found[visible] = len(objects)
    if spec.ignore_border:
        kernel = np.ones((2 * spec.ignore_border + 1,) * 2, np.uint8)
        label[cv2.morphologyEx(label, cv2.MORPH_GRADIENT, kernel) > 0] = IGNORE
    found[label == IGNORE] = IGNORE
    return label, found, tuple(objects)


def render_scene(spec: SyntheticSpec, split: str, index: int) -> Scene:
    """Draws one scene at twice its size and reduces it by area averaging.

    The pixels depend on the split, the index and the parameters only, not on the
    process or the machine.

    Args:
        spec: The parameters.
        split: ``'train'`` or ``'val'``.
        index: Number of the image in its split.

    Returns:
        The scene; the classes of its objects are those of its label map.
    """
    entropy = [spec.seed, SPLITS.index(split), index, *spec.stream]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
    painter = (_Recombiner if isinstance(spec, RecombinedSpec) else _Painter)(spec, rng)
    for _ in range(int(rng.integers(spec.distractors + 1))):
        painter.blob(0.12, 0.35, painter.body_tones(), painter.place())
    for _ in range(int(rng.integers(spec.decoys + 1))):
        painter.decoy()
    count = 1 + int(np.searchsorted(np.cumsum(spec.objects)[:-1], rng.random()))
    places = _spread(painter, count)
    painted = [painter.object(i, at) for i, at in enumerate(places, 1)]
    if rng.random() < spec.occluder:
        shift = cmath.rect(painter.draw(0.05, 0.2) * painter.side, painter.draw(-3, 3))
        painter.blob(0.1, 0.2, painter.body_tones(), places[0] + shift)
    image = (_quads(painter.canvas.astype(np.uint16)) + 2 >> 2).astype(np.uint8)
    return Scene(image, *_label(spec, painter.owner, painted))


def render(
    spec: SyntheticSpec, split: str, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one image ``(H, W, 3)`` uint8 RGB and its label map ``(H, W)`` uint8."""
    scene = render_scene(spec, split, index)
    return scene.image, scene.label
