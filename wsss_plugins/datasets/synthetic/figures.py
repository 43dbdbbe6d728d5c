"""The articulated objects: polygons in a plane of complex numbers, x to the right, y down.

A body is a few jointed limbs around a torso and about one unit long. A head is drawn in
a frame of its own, one unit across and facing right, and is what tells the classes apart.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Iterator
from enum import IntEnum

import numpy as np

_CIRCLE = np.array([cmath.rect(1, 2 * math.pi * k / 16) for k in range(16)])
_HALF = np.array([cmath.rect(1, math.pi * (0.5 + k / 6)) for k in range(7)])
_DOWN, _UP = math.pi / 2, -math.pi / 2


class Tone(IntEnum):
    """The paints of a figure: three of the body, three of the head."""

    FAR = 1
    BODY = 2
    NEAR = 3
    MAIN = 4
    ACCENT = 5
    DARK = 6


Part = tuple[Tone, np.ndarray]
Draw = Callable[[float, float], float]
"""Draws a number from a range."""


def ellipse(centre: complex, rx: float, ry: float, angle: float = 0.0) -> np.ndarray:
    """Outline of an ellipse, ``(16,)`` complex."""
    outline = _CIRCLE.real * rx + 1j * _CIRCLE.imag * ry
    return centre + outline * cmath.rect(1, angle)


def limb(
    start: complex, angle: float, length: float, r0: float, r1: float
) -> tuple[np.ndarray, complex]:
    """Outline of a tapered limb with round ends of radius r0 and r1, and its end."""
    direction = cmath.rect(1, angle)
    end = start + direction * length
    outline = [start + direction * _HALF * r0, end - direction * _HALF * r1]
    return np.concatenate(outline), end


def jointed(
    tone: Tone, start: complex, angles: tuple[float, ...], length: float, radius: float
) -> Iterator[Part]:
    """Limbs one after the other, each three quarters as thick as the last."""
    for angle in angles:
        outline, start = limb(start, angle, length, radius, radius * 0.75)
        radius *= 0.75
        yield tone, outline


def polygon(*points: complex) -> np.ndarray:
    """A polygon from its corners."""
    return np.array(points)


def _animal(draw: Draw) -> tuple[list[Part], complex]:
    parts: list[Part] = []
    for tone, hip in (
        (Tone.FAR, -0.19),
        (Tone.FAR, 0.16),
        (Tone.BODY, -0.25),
        (Tone.BODY, 0.22),
    ):
        swing = _DOWN + draw(-0.5, 0.5)
        bend = swing + draw(0.0, 0.6)
        parts += jointed(tone, hip + 0.06j, (swing, bend), 0.16, 0.065)
    lift = math.pi + draw(-0.9, 0.9)
    parts += jointed(
        Tone.BODY, -0.3 - 0.05j, (lift, lift + draw(-0.8, 0.8)), 0.14, 0.04
    )
    neck, end = limb(0.24 - 0.03j, draw(-1.2, -0.2), 0.17, 0.1, 0.075)
    torso = ellipse(0, 0.34, draw(0.14, 0.18), draw(-0.1, 0.1))
    return [*parts, (Tone.BODY, neck), (Tone.BODY, torso)], end


def _bird(draw: Draw) -> tuple[list[Part], complex]:
    tilt = draw(-0.5, 0.0)
    axis = cmath.rect(1, tilt)
    fan = draw(0.1, 0.2)
    tail = polygon(-0.2, -0.52 - 1j * fan, -0.56, -0.5 + 1j * fan) * axis
    parts = [(Tone.FAR, tail)]
    for tone, flap in ((Tone.FAR, draw(-0.5, 0.3)), (Tone.NEAR, draw(-0.4, 0.4))):
        wing = polygon(0.14, -0.06 - 0.46j, -0.24 - 0.4j, -0.18) * cmath.rect(1, flap)
        parts.append((tone, (wing - 0.02j) * axis))
    for hip in (-0.04, 0.05):
        parts += jointed(Tone.FAR, hip + 0.1j, (_DOWN + draw(-0.5, 0.5),), 0.16, 0.03)
    parts.insert(2, (Tone.BODY, ellipse(0, 0.3, draw(0.13, 0.17), tilt)))
    return parts, 0.31 * axis - 0.06j


def _fish(draw: Draw) -> tuple[list[Part], complex]:
    sway = draw(-0.5, 0.5)
    tail = polygon(0.08, -0.22 - 0.2j, -0.15, -0.22 + 0.2j) * cmath.rect(1, sway)
    depth = draw(0.15, 0.22)
    back, belly = draw(-0.12, 0.1), draw(-0.1, 0.1)
    fins = [
        polygon(back + 0.16 - 0.1j, back - 0.12 - 0.32j, back - 0.2 - 0.08j),
        polygon(belly + 0.1 + 0.1j, belly - 0.1 + 0.3j, belly - 0.14 + 0.08j),
    ]
    parts = [(Tone.FAR, tail - 0.32), *((Tone.NEAR, fin) for fin in fins)]
    return [*parts, (Tone.BODY, ellipse(0, 0.4, depth))], 0.32 + 0j


def _person(draw: Draw) -> tuple[list[Part], complex]:
    parts: list[Part] = []
    lean = draw(-0.2, 0.2)
    torso, neck = limb(0.08j, _UP + lean, 0.26, 0.1, 0.13)
    for tone, side in ((Tone.FAR, -1), (Tone.BODY, 1)):
        thigh = _DOWN + side * draw(-0.1, 0.6)
        shin = thigh - side * draw(0.0, 0.5)
        parts += jointed(tone, 0.04 * side + 0.1j, (thigh, shin), 0.2, 0.075)
    parts.append((Tone.BODY, torso))
    for tone, side in ((Tone.FAR, -1), (Tone.NEAR, 1)):
        arm = _DOWN - side * draw(0.1, 2.2)
        shoulder = neck + 0.1 * side + 0.02j
        parts += jointed(tone, shoulder, (arm, arm - side * draw(0, 1)), 0.16, 0.055)
    return parts, neck + cmath.rect(0.22, _UP + lean)


def _plant(draw: Draw) -> tuple[list[Part], complex]:
    parts: list[Part] = []
    angle, point = _UP + draw(-0.3, 0.3), 0.5j
    for joint in range(4):
        angle += draw(-0.25, 0.25)
        stem, point = limb(point, angle, 0.2, 0.035, 0.03)
        parts.append((Tone.BODY, stem))
        side = 1 if joint % 2 else -1
        leaf = angle + side * draw(0.6, 1.3)
        if joint < 3:
            centre = point - cmath.rect(0.08, angle) + cmath.rect(0.18, leaf)
            tone = Tone.NEAR if side > 0 else Tone.FAR
            parts.append((tone, ellipse(centre, 0.19, draw(0.07, 0.1), leaf)))
    return parts, point


def _vehicle(draw: Draw) -> tuple[list[Part], complex]:
    tall, tip = draw(0.2, 0.36), draw(-0.35, 0.1)
    load = polygon(-0.56, 0.02, 0.02 - 1j * tall, -0.56 - 1j * tall)
    load = (load + 0.5) * cmath.rect(1, min(tip, 0.0)) - 0.4 + 0.1j
    frame = polygon(-0.5 + 0.06j, 0.48 + 0.06j, 0.48 + 0.17j, -0.5 + 0.17j)
    parts = [(Tone.BODY, load), (Tone.NEAR, frame)]
    radius = draw(0.08, 0.12)
    for axle in (draw(-0.42, -0.3), draw(-0.2, 0.1), 0.32):
        parts.append((Tone.FAR, ellipse(axle + 0.2j, radius, radius)))
    return parts, 0.34 - 0.04j


_DISC = ellipse(0, 0.44, 0.44)
_PETALS = [
    ellipse(cmath.rect(0.34, k * math.pi / 3), 0.24, 0.15, k * math.pi / 3)
    for k in range(6)
]
_HEADS: dict[str, list[Part]] = {
    'animal': [
        (Tone.ACCENT, polygon(-0.46 - 0.1j, -0.4 - 0.66j, -0.02 - 0.36j)),
        (Tone.ACCENT, polygon(0.0 - 0.36j, 0.3 - 0.66j, 0.4 - 0.1j)),
        (Tone.MAIN, _DISC),
        (Tone.ACCENT, ellipse(0.34 + 0.16j, 0.2, 0.16)),
    ],
    'bird': [
        (Tone.ACCENT, polygon(0.2 - 0.28j, 0.92 + 0.06j, 0.2 + 0.34j)),
        (Tone.MAIN, _DISC),
        (Tone.DARK, ellipse(0.12 - 0.1j, 0.1, 0.1)),
    ],
    'fish': [
        (Tone.MAIN, ellipse(0, 0.46, 0.54)),
        (Tone.ACCENT, ellipse(0.08 - 0.08j, 0.27, 0.27)),
        (Tone.DARK, ellipse(0.12 - 0.08j, 0.12, 0.12)),
    ],
    'person': [
        (Tone.MAIN, _DISC),
        (Tone.ACCENT, np.concatenate([_HALF * 1j * 0.5, [0.64 - 0.12j, 0.64 + 0j]])),
    ],
    'plant': [
        *((Tone.MAIN, petal) for petal in _PETALS),
        (Tone.ACCENT, ellipse(0, 0.24, 0.24)),
    ],
    'vehicle': [
        (Tone.MAIN, polygon(-0.5 - 0.55j, 0.15 - 0.55j, 0.5, 0.5 + 0.5j, -0.5 + 0.5j)),
        (Tone.ACCENT, polygon(-0.3 - 0.4j, 0.1 - 0.4j, 0.32 - 0.02j, -0.3 - 0.02j)),
    ],
}
_BODIES: dict[str, Callable[[Draw], tuple[list[Part], complex]]] = {
    'animal': _animal,
    'bird': _bird,
    'fish': _fish,
    'person': _person,
    'plant': _plant,
    'vehicle': _vehicle,
}


def figure(
    name: str,
    draw: Draw,
    head_size: float,
    headless: bool = False,
    head_of: str | None = None,
) -> list[Part]:
    """Poses one object.

    Args:
        name: Its class.
        draw: Draws the joints' angles and the proportions.
        head_size: Diameter of the head over the length of the body.
        headless: Leave the head out.
        head_of: Class whose head it wears, by default its own.

    Returns:
        Its parts from back to front; the longer side of the box around body and head
        is 1 and the box is centred on 0.
    """
    body, neck = _BODIES[name](draw)
    nod = 0.0 if name == 'vehicle' else draw(-0.3, 0.3)
    pose = cmath.rect(head_size, nod)
    head = [(tone, neck + outline * pose) for tone, outline in _HEADS[head_of or name]]
    points = np.concatenate([outline for _, outline in body + head])
    low = complex(points.real.min(), points.imag.min())
    high = complex(points.real.max(), points.imag.max())
    span = max(high.real - low.real, high.imag - low.imag)
    parts = body if headless else body + head
    return [(tone, (outline - (low + high) / 2) / span) for tone, outline in parts]


def blob(draw: Draw) -> np.ndarray:
    """An irregular outline about one unit across."""
    radii = np.array([draw(0.3, 0.55) for _ in range(8)])
    radii = np.repeat(radii, 2) / 2 + np.repeat(np.roll(radii, 1), 2) / 2
    return _CIRCLE * radii
