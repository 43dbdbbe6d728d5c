"""Backgrounds and textures, in integer arithmetic so that every machine draws the same."""

from __future__ import annotations

import cv2
import numpy as np

# Muted colours of scenery: sky, cloud, sand, soil, grass, foliage, stone, water.
_SCENERY = np.array(
    [
        (142, 170, 196),
        (196, 200, 204),
        (190, 172, 138),
        (112, 92, 72),
        (116, 134, 82),
        (66, 86, 58),
        (128, 126, 122),
        (78, 106, 120),
    ],
    dtype=np.int32,
)


def pink_noise(
    rng: np.random.Generator, size: tuple[int, int], channels: int, roughness: int = 11
) -> np.ndarray:
    """Noise whose amplitude falls with frequency as in photographs (about 1/f).

    Random grids are doubled and the next, weaker octave is added, down to one pixel.

    Args:
        rng: Source of the grids.
        size: ``(H, W)``.
        channels: Number of independent fields ``C``.
        roughness: Amplitude of an octave over that of the coarser one, in 16ths.

    Returns:
        ``(H, W, C)`` int32, mean about 0, mostly within -128 ... 127.
    """
    octaves = max(1, (max(size) // 4).bit_length() - 1)
    amplitude = 96
    field: np.ndarray = np.zeros((1, 1, channels), np.int16)
    for octave in range(octaves, -1, -1):
        height, width = (-(-side >> octave) for side in size)
        field = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
        grid = rng.integers(-amplitude, amplitude + 1, (height, width, channels))
        field = field.reshape(grid.shape) + grid.astype(np.int16)
        amplitude = amplitude * roughness // 16
    return field.astype(np.int32)


def background(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draws scenery: two mottled grounds that meet softly or at a horizon, and patches.

    Returns:
        ``(H, W, 3)`` int32 in 0 ... 255, RGB.
    """
    noise = pink_noise(rng, size, 3, int(rng.integers(9, 13)))
    jitter = rng.integers(-18, 19, (3, 3)) + rng.integers(-24, 25, (3, 1))
    above, below, patch = _SCENERY[rng.integers(len(_SCENERY), size=3)] + jitter
    rows = np.arange(size[0], dtype=np.int32)[:, None] * 256 // size[0]
    steepness = int(rng.integers(0, 2)) * int(rng.integers(1, 9))
    horizon = int(rng.integers(64, 192))
    mix = np.clip(128 + noise[..., 0] * 3 // 2 + (rows - horizon) * steepness, 0, 255)
    cover = np.clip(noise[..., 1] * 4 - 220, 0, 200)
    image = above * (255 - mix)[..., None] + below * mix[..., None] >> 8
    image = image + ((patch - image) * cover[..., None] >> 8)
    return np.clip(image + (noise[..., 2] * 3 // 8)[..., None], 0, 255)


def body_texture(rng: np.random.Generator, noise: np.ndarray) -> np.ndarray:
    """Draws the shading of a body: mottled, striped or spotted, whatever its class.

    Args:
        rng: Chooses the kind and its parameters.
        noise: ``(H, W)`` field of :func:`pink_noise` to draw from.

    Returns:
        ``(H, W)`` int32 factor in 256ths.
    """
    height, width = noise.shape
    shift = tuple(rng.integers(0, noise.shape))
    noise = np.roll(noise, shift, (0, 1))
    shade = 256 + noise * 5 // 8
    kind, contrast = int(rng.integers(3)), int(rng.integers(50, 110))
    if kind == 1:
        across, down = rng.integers(-20, 21, 2) * 512 // min(height, width)
        y, x = np.ogrid[:height, :width]
        shade = shade - contrast * ((x * across + y * down + noise >> 7) & 1)
    elif kind == 2:
        shade = shade - contrast * ((noise & 127) > 88)
    return shade
