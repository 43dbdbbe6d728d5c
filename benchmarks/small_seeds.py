#!/usr/bin/env python
"""Size, speed and mIoU of seeds that are kept small, beside seeds at the photo's size.

Run from the project root, after ``configs/voc_animals/pipeline.py`` has trained a classifier:

    python benchmarks/small_seeds.py --data-root VOC2012 \
        --classifier work_dirs/voc_animals/pipeline/classifier

The maps of every photo are made once; each row keeps them in another way and reads them
again. 'as before' is what :class:`SeedStage` wrote until it kept seeds small: maps at the
photo's size in single precision, deflated at level 6. Kilobytes are the mean over all
photos, then the median and the most of those of two classes and 500 x 375 pixels. Of these
are also the CPU milliseconds to write and to read, enlargement included (medians, one
thread). The last column is the largest difference of the mIoU (percent, over classes that
occur) from the first row, over all thresholds.

Bars for seeds as they are kept by default: 60 kB, 6 ms, 6 ms and 0.05.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.cli import run_tool
from wsss_plugins.datasets import VOC12, WSSSDataset
from wsss_plugins.metrics import SeedIoU, usual_thresholds
from wsss_plugins.registry import DATASETS, SEED_HEADS, build_as
from wsss_plugins.seeds import SeedHead
from wsss_plugins.stages import SeedStage, load_trained
from wsss_plugins.structures import Seed, save_json
from wsss_plugins.structures.seed import SmallSeed

BARS = dict(kilobytes=60.0, write=6.0, read=6.0, moved=0.05)
SIZES = ((375, 500), (500, 375))
WAYS: dict[str, dict[str, Any]] = {
    'as before': dict(resolution='full', half=False),
    'full size, single': dict(resolution='full', half=False),
    'full size, half': dict(resolution='full', half=True),
    'quarter, half': dict(resolution=0.25, half=True),
    'grid, single': dict(half=False),
    'grid, half (default)': {},
}


class Remembering:
    """Calls a seed head once for every view of a photo, and then repeats what it said."""

    def __init__(self, head: SeedHead) -> None:
        self.head = head
        self.said: list[Tensor] = []
        self.next = 0

    def begin(self, anew: bool) -> None:
        """Goes back to the first view, of another photo if ``anew``."""
        self.next = 0
        if anew:
            self.said.clear()

    def __call__(self, model: WSSSClassifier, images: Tensor, labels: Tensor) -> Tensor:
        """The maps of the next view."""
        if self.next == len(self.said):
            self.said.append(self.head(model, images, labels))
        self.next += 1
        return self.said[self.next - 1]


class Row:
    """What is measured of one way to keep seeds.

    Args:
        stage: The stage that keeps them so.
        before: Whether to write as before.
        num_classes: Foreground classes of the data set.
    """

    def __init__(self, stage: SeedStage, before: bool, num_classes: int) -> None:
        self.stage = stage
        self.before = before
        self.sweep = SeedIoU(num_classes, usual_thresholds('present'))
        self.bytes: list[int] = []
        self.typical: list[tuple[int, float, float]] = []

    def add(
        self, seed: SmallSeed, mask: np.ndarray, path: Path, repeats: int, typical: bool
    ) -> None:
        """Writes, reads and measures one seed."""
        if self.before:

            def write() -> None:
                np.savez_compressed(
                    path,
                    scores=seed.maps.scales[0].numpy(),
                    classes=seed.classes.numpy(),
                )
        else:

            def write() -> None:
                seed.save(path)

        taken = [milliseconds(write, repeats if typical else 1)]
        size = path.stat().st_size
        self.bytes.append(size)
        taken.append(milliseconds(lambda: Seed.load(path), repeats if typical else 1))
        if typical:
            self.typical.append((size, *taken))
        read = Seed.load(path)
        self.sweep.update(read.scores.numpy(), read.classes.numpy(), mask)

    def numbers(self, reference: np.ndarray) -> dict[str, float]:
        """The cells of the row."""
        size, write, read = np.median(self.typical, 0)
        miou = self.sweep.compute('present').miou
        return dict(
            all_kilobytes=float(np.mean(self.bytes)) / 1e3,
            kilobytes=float(size) / 1e3,
            most_kilobytes=max(each[0] for each in self.typical) / 1e3,
            write=float(write),
            read=float(read),
            best=float(miou.max()),
            moved=float(abs(miou - reference).max()),
        )

    @property
    def miou(self) -> np.ndarray:
        """At every threshold."""
        return self.sweep.compute('present').miou


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Median CPU milliseconds of a call."""
    taken = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        taken.append(1e3 * (time.process_time() - begin))
    return float(np.median(taken))


def rows_of(
    args: argparse.Namespace, scales: tuple[float, ...], dataset: WSSSDataset
) -> dict[str, Row]:
    """All rows for one list of scales."""
    model = load_trained(args.classifier, WSSSClassifier)
    head = Remembering(build_as(SEED_HEADS, dict(type=args.head), SeedHead))
    rows = {}
    for name, way in WAYS.items():
        stage = SeedStage(
            'seeds',
            'net',
            dict(type=args.head),
            {},
            scales,
            max_side=args.max_side,
            **way,
        )
        stage.maps.head = head  # type: ignore[assignment]
        rows[name] = Row(stage, name == 'as before', len(dataset.foreground_classes))
    with tempfile.TemporaryDirectory() as folder:
        for index in chosen(dataset, args.photos):
            photo, labels = dataset.load_image(index), dataset.labels(index)
            mask = dataset.load_mask(index)
            typical = labels.sum() == 2 and mask.shape in SIZES
            for number, row in enumerate(rows.values()):
                head.begin(anew=number == 0)
                (seed,) = row.stage.kept_seeds_of(model, [photo], [labels])
                path = Path(folder) / 'seed.npz'
                row.add(seed, mask, path, args.repeats, bool(typical))
    return rows


def chosen(dataset: WSSSDataset, count: int) -> Iterator[int]:
    """Evenly spaced photos of the data set."""
    many = min(count, len(dataset))
    yield from (i * len(dataset) // many for i in range(many))


def main() -> None:
    """Reads the options and measures."""
    parser = argparse.ArgumentParser(description='Size, speed and mIoU of small seeds.')
    parser.add_argument('--data-root', required=True, help='VOC2012')
    parser.add_argument('--classifier', type=Path, required=True, help='its folder')
    parser.add_argument('--head', default='CAM', help='a seed head')
    parser.add_argument('--photos', type=int, default=200)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--max-side', type=int)
    parser.add_argument(
        '--scales', type=float, nargs='+', default=[1.0], help='of the photo'
    )
    parser.add_argument('--json', type=Path, help='file to write the numbers to')
    run_tool(parser, measure)


def measure(args: argparse.Namespace) -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    cfg = dict(
        type=VOC12,
        data_root=args.data_root,
        split='train',
        label_maps='SegmentationClass',
        test_mode=True,
    )
    dataset = build_as(DATASETS, cfg, WSSSDataset)
    scales = tuple(args.scales)
    rows = rows_of(args, scales, dataset)
    first = next(iter(rows.values()))
    about = dict(
        date=str(datetime.date.today()),
        machine=platform.machine(),
        torch=torch.__version__,
        head=args.head,
        scales=scales,
        max_side=args.max_side,
        photos=len(first.bytes),
        of_two_classes=len(first.typical),
    )
    say = sys.stdout.write
    say('  '.join(f'{key} {value}' for key, value in about.items()) + '\n')
    titles = ('kB (all)', 'kB', 'most kB', 'write ms', 'read ms', 'best mIoU', 'moved')
    say(f'{"seeds":>22} ' + ' '.join(f'{title:>9}' for title in titles) + '\n')
    found = {name: row.numbers(first.miou) for name, row in rows.items()}
    for name, numbers in found.items():
        cells = ' '.join(f'{value:9.4g}' for value in numbers.values())
        say(f'{name:>22} {cells}\n')
    halved = abs(rows['full size, half'].miou - first.miou).max()
    say(f'half precision moves the sweep by {halved:.2g} at most\n')
    last = found[name]
    met = all(last[key] <= bar for key, bar in BARS.items())
    say(f'bars {BARS} for {name}: {"met" if met else "MISSED"}\n')
    if args.json:
        save_json(args.json, dict(about=about, rows=found, met=met))


if __name__ == '__main__':
    main()
