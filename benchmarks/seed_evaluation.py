#!/usr/bin/env python
"""One-pass threshold sweep against one evaluation of the seeds per threshold.

Run from the project root: ``python benchmarks/seed_evaluation.py [--json FILE]``.

Seeds are made from masks of Pascal VOC: blurred, with smooth noise, in memory. Each method
finds the same 21 x 21 confusion counts at 100 thresholds, which is checked. Per threshold

- 'released': what the evaluation.py of ACR and MCTformer computes: argmax over 21
  channels, then P, T and TP by a loop over the classes (its C counters left out);
- 'lean': argmax over the background and the present classes, and one bincount of the
  pixels that are not ignored;
- 'argmax once': strongest score and class of each pixel found once, outside the time;
  then a comparison and one bincount per threshold. It is half of the sweep's own idea.

Bar: the sweep is 30 times as fast as 'released'.

CPU seconds of one thread, least of the repeats. The methods that work threshold by
threshold are timed at every ``--every``-th one, and that time is multiplied.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from wsss_plugins.metrics import SeedIoU
from wsss_plugins.structures import load_label_map, save_json

LABELS = 21
BAR = 30
THRESHOLDS = np.arange(100) / 100
Image = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Scores ``(K, H, W)``, classes ``(K,)`` and mask ``(H, W)``."""


def make_image(path: Path, rng: np.random.Generator) -> Image:
    """Seeds that follow a mask as loosely as real ones do."""
    mask = load_label_map(path, LABELS)
    labels = np.setdiff1d(mask, [0, 255])
    scores = []
    for label in labels:
        coarse = rng.random((9, 12), dtype=np.float32)
        noise = cv2.resize(coarse, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
        score = cv2.GaussianBlur((mask == label).astype(np.float32), (0, 0), 12)
        score += 0.4 * noise
        scores.append((score - score.min()) / (np.ptp(score) + 1e-6))
    return np.stack(scores), labels.astype(np.int64) - 1, mask


def sweep(images: list[Image]) -> np.ndarray:
    """All thresholds at once: confusion matrices ``(100, 21, 21)``."""
    accumulator = SeedIoU(LABELS - 1, THRESHOLDS.tolist())
    for image in images:
        accumulator.update(*image)
    return accumulator.compute().confusion


def released(images: list[Image], threshold: float) -> np.ndarray:
    """TP, P and T ``(3, 21)`` at one threshold, class by class."""
    counts = np.zeros((3, LABELS), np.int64)
    for scores, classes, mask in images:
        channels = np.zeros((LABELS, *mask.shape), np.float32)
        channels[0] = threshold
        channels[classes + 1] = scores
        label = channels.argmax(0).astype(np.uint8)
        valid = mask < 255
        right = (label == mask) * valid
        for c in range(LABELS):
            counts[0, c] += np.sum((mask == c) * right)
            counts[1, c] += np.sum((label == c) * valid)
            counts[2, c] += np.sum((mask == c) * valid)
    return counts


def lean(images: list[Image], threshold: float) -> np.ndarray:
    """The confusion matrix ``(21, 21)`` at one threshold."""
    total = np.zeros(LABELS * LABELS, np.int64)
    for scores, classes, mask in images:
        flat = np.full((1, *mask.shape), threshold, np.float32)
        winner = np.concatenate([flat, scores]).argmax(0)
        label = np.concatenate([[0], classes + 1])[winner]
        valid = mask < 255
        cell = mask[valid].astype(np.int64) * LABELS + label[valid]
        total += np.bincount(cell, minlength=total.size)
    return total.reshape(LABELS, LABELS)


def strongest(image: Image) -> Image:
    """Strongest score, its label and the truth of each pixel that counts, ``(N,)`` each."""
    scores, classes, mask = image
    valid = mask < 255
    label = classes[scores.argmax(0)] + 1
    return scores.max(0)[valid], label[valid], mask[valid].astype(np.int64)


def argmax_once(pixels: list[Image], threshold: float) -> np.ndarray:
    """The confusion matrix ``(21, 21)`` at one threshold, from :func:`strongest`."""
    total = np.zeros(LABELS * LABELS, np.int64)
    for score, label, truth in pixels:
        cell = truth * LABELS + np.where(score > np.float32(threshold), label, 0)
        total += np.bincount(cell, minlength=total.size)
    return total.reshape(LABELS, LABELS)


def cpu_seconds(work: Callable[[], object], repeats: int) -> float:
    """Least CPU seconds of several runs."""
    best = float('inf')
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def per_threshold(
    method: Callable[[list[Image], float], np.ndarray],
    images: list[Image],
    every: int,
    repeats: int,
) -> float:
    """CPU seconds of a method at all thresholds."""
    tried = THRESHOLDS[every // 2 :: every]
    spent = cpu_seconds(lambda: [method(images, t) for t in tried], repeats)
    return spent * len(THRESHOLDS) / len(tried)


def check(images: list[Image], confusion: np.ndarray, index: int) -> None:
    """All methods find the same counts."""
    threshold, found = THRESHOLDS[index], confusion[index]
    counts = np.stack([found.diagonal(), found.sum(0), found.sum(1)])
    np.testing.assert_array_equal(released(images, threshold), counts)
    np.testing.assert_array_equal(lean(images, threshold), found)
    pixels = [strongest(image) for image in images]
    np.testing.assert_array_equal(argmax_once(pixels, threshold), found)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description='Speed of the threshold sweep.')
    parser.add_argument(
        '--masks', type=Path, default=Path('../shared/data/voc12_masks')
    )
    parser.add_argument('--images', type=int, default=200)
    parser.add_argument('--every', type=int, default=25)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--json', type=Path, help='file to write the numbers to')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    paths = sorted(args.masks.glob('*.png'))[: args.images]
    images = [make_image(path, rng) for path in paths]
    check(images[:20], sweep(images[:20]), 40)
    about = dict(
        date=str(datetime.date.today()),
        python=platform.python_version(),
        numpy=np.__version__,
        machine=platform.machine(),
        images=len(images),
        thresholds=len(THRESHOLDS),
        every=args.every,
        repeats=args.repeats,
    )
    print('  '.join(f'{key} {value}' for key, value in about.items()))
    once = cpu_seconds(lambda: sweep(images), args.repeats)
    pixels = [strongest(image) for image in images]
    seconds = {
        'sweep': once,
        'argmax once': per_threshold(argmax_once, pixels, args.every, args.repeats),
        'lean': per_threshold(lean, images, args.every, args.repeats),
        'released': per_threshold(released, images, 2 * args.every, 1),
    }
    print(f'{"method":>12} {"CPU s":>9} {"ms per image":>13} {"times the sweep":>16}')
    for name, spent in seconds.items():
        ms = 1000 * spent / len(images)
        print(f'{name:>12} {spent:9.2f} {ms:13.2f} {spent / once:16.1f}')
    met = seconds['released'] / once >= BAR
    print(f'bar {BAR} times released  {"met" if met else "MISSED"}')
    if args.json:
        save_json(args.json, dict(about=about, cpu_seconds=seconds, met=met))


if __name__ == '__main__':
    main()
