#!/usr/bin/env python
"""Share of the time that a network of a fixed cost is busy, one by one and with threads.

Run from the project root: ``python benchmarks/throughput.py [--milliseconds 40]``.

The network sleeps for a fixed time per photo, which takes no core, as a network on a GPU
would. All else of a stage is real: photos of 500 x 375 pixels are decoded, maps are scaled,
compressed and written. 'full seeds' are those of earlier versions: at the photo's size, in
single precision, deflated at level 6. 'serially' is :func:`in_threads` with one thread:
every photo is read, computed and written before the next one is read, as earlier versions
did. Busy is the time that the network sleeps over the time of the stage. Bar: seeds and
predictions with 90 % at 40 ms per photo on two cores.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from wsss_plugins.backbones import TimmMaps, TokenBackbone, Tokens
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.engine import Stage, flow
from wsss_plugins.refiners import ConstantBackground, Refiner
from wsss_plugins.seeds import CAM
from wsss_plugins.stages import (
    FeatureStage,
    PerturbationTestStage,
    PredictStage,
    RefineStage,
    SeedStage,
)
from wsss_plugins.structures import Seed, save_json
from wsss_plugins.structures.seed import LEVEL

SIZE = (375, 500)
CLASSES = tuple(f'class_{i}' for i in range(20))
BAR = 90
BARRED = ('seeds', 'predictions')
FULL = 'full seeds'
CODEC = 'wsss_plugins.structures.seed.LEVEL'


class Network:
    """The seconds that the network needs for a photo, and those that it has slept."""

    cost = 0.04
    slept = 0.0

    @classmethod
    def sleep(cls, share: float = 1.0) -> None:
        """Takes a share of the seconds of a photo."""
        time.sleep(cls.cost * share)
        cls.slept += cls.cost * share


class SleepingBackbone(TokenBackbone):
    """Smooth random tokens on a grid of stride 16, after a sleep.

    Args:
        passes: Forward passes per photo, which share the time of the photo.
    """

    embed_dims, stride, num_prefix, num_class_tokens = 8, 16, 0, 0
    without_attention = 'it has none'

    def __init__(self, passes: int) -> None:
        super().__init__()
        self.passes = passes

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """Sleeps for every image of the batch."""
        Network.sleep(len(images) / self.passes)
        rows, columns = self.grid(images)
        generator = torch.Generator().manual_seed(0)
        patch = torch.randn(len(images), 8, rows, columns, generator=generator)
        return Tokens(patch.new_zeros(len(images), 0, 8), patch)

    def attention_modules(self) -> list[nn.Module]:
        """None."""
        return []


class SleepingSegmentor(nn.Module):
    """Random logits of 21 labels at an eighth of the size, after a sleep."""

    data_preprocessor = SimpleNamespace(mean=127.0, std=64.0)

    def encode_decode(self, view: Tensor, metas: list[dict[str, Any]]) -> Tensor:
        """Sleeps once."""
        Network.sleep()
        rows, columns = (-(-side // 8) for side in view.shape[-2:])
        generator = torch.Generator().manual_seed(0)
        return torch.randn(1, 21, rows, columns, generator=generator)


class SleepingMaps(TimmMaps):
    """Random maps of stride 16, after a sleep."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.channels, self.strides, self.multiple = (64,), (16,), 16

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Sleeps once."""
        Network.sleep()
        rows, columns = (side // 16 for side in images.shape[-2:])
        return (torch.zeros(1, 64, rows, columns),)

    def identity(self) -> str:
        """Any text."""
        return 'sleeping'


class SleepingRefiner(Refiner):
    """Returns the seed as it is, after a sleep."""

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Sleeps once."""
        Network.sleep()
        return seed


def write_photos(root: Path, count: int) -> dict[str, Any]:
    """JPEG photos of coarse and fine noise with two classes each; config of the data set."""
    rng = np.random.default_rng(0)
    rows = ['file,tags']
    (root / 'images').mkdir(parents=True)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        photo = np.asarray(coarse.resize(SIZE[::-1], Image.Resampling.BICUBIC), float)
        photo = (photo + rng.normal(0, 12, photo.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(photo).save(root / f'images/{i:04d}.jpg', quality=90)
        rows.append(f'{i:04d}.jpg,{CLASSES[i % 20]};{CLASSES[(i + 1) % 20]}')
    (root / 'train.csv').write_text('\n'.join(rows))
    return dict(type='FolderWSSS', data_root=str(root), split='train', classes=CLASSES)


def classifier(passes: int = 1) -> WSSSClassifier:
    """A classifier that sleeps."""
    head = dict(type='TokenHead', num_classes=20, sources=('patch',))
    return WSSSClassifier(SleepingBackbone(passes), head).eval()


def jobs(photos: dict[str, Any]) -> dict[str, tuple[Stage, nn.Module | None]]:
    """The stages, each with the model that it loads."""
    cam = dict(type=CAM, floor='minimum')
    refiners = [
        dict(type=ConstantBackground, threshold=0.5),
        dict(type=SleepingRefiner),
    ]
    steps = 2
    seeds = dict(flip=False, batch_size=1)
    full = dict(seeds, resolution='full', half=False)
    return {
        FULL: (SeedStage('full', 'net', cam, photos, **full), classifier()),
        'seeds': (SeedStage('seeds', 'net', cam, photos, **seeds), classifier()),
    } | dict(
        refinement=(RefineStage('refinement', 'seeds', photos, refiners, workers=1), None),
        predictions=(
            PredictStage('predictions', 'net', photos, flip=False),
            SleepingSegmentor(),
        ),
        features=(
            FeatureStage('features', dict(type=SleepingMaps), photos, None, flip=False),
            None,
        ),
        explanations=(
            PerturbationTestStage(
                'explanations', 'net', dict(cam=cam), photos, steps,
                explained=('target',), batch_size=1,
            ),
            classifier(passes=2 + 2 * steps),
        ),
    )  # fmt: skip


@contextmanager
def loading(model: nn.Module | None) -> Iterator[None]:
    """Stages load this model in the block."""
    modules = ('seed', 'predict', 'explanations.attribution')
    names = [f'wsss_plugins.stages.{module}.load_trained' for module in modules]
    patches = [patch(name, lambda *_: model) for name in names]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def measured(
    stage: Stage, model: nn.Module | None, work: Path, threads: int
) -> tuple[float, float]:
    """Seconds of a stage with so many threads on either side, and percent busy."""
    out = work / f'threads_{threads}' / stage.name
    out.mkdir(parents=True)
    inputs = {name: out.parent / name for name in stage.inputs}
    level = 6 if stage.name == 'full' else LEVEL
    with loading(model), patch.multiple(flow, THREADS=threads), patch(CODEC, level):
        begin, Network.slept = time.perf_counter(), 0.0
        stage.run(out, inputs)
        taken = time.perf_counter() - begin
    return taken, 100 * Network.slept / taken


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description='How busy a network is.')
    parser.add_argument('--milliseconds', type=float, default=40, help='of the network')
    parser.add_argument('--photos', type=int, default=200)
    parser.add_argument('--stages', nargs='*', help='only these')
    parser.add_argument('--json', type=Path, help='file to write the numbers to')
    args = parser.parse_args()
    Network.cost = args.milliseconds / 1000
    torch.set_num_threads(1)
    about = dict(
        date=str(datetime.date.today()),
        python=platform.python_version(),
        torch=torch.__version__,
        machine=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        photos=args.photos,
        milliseconds=args.milliseconds,
        threads=flow.THREADS,
    )
    say = sys.stdout.write
    say('  '.join(f'{key} {value}' for key, value in about.items()) + '\n')
    say(f'{"stage":>13} {"serially":>9} {"busy":>6} {"threads":>9} {"busy":>6}\n')
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        photos = write_photos(work / 'data', args.photos)
        for name, (stage, model) in jobs(photos).items():
            if args.stages and name not in args.stages:
                continue
            cells = [measured(stage, model, work, n) for n in (1, flow.THREADS)]
            found[name] = cells
            row = ' '.join(f'{taken:7.2f} s {busy:5.0f}%' for taken, busy in cells)
            say(f'{name:>13} {row}\n')
    met = all(cells[1][1] >= BAR for name, cells in found.items() if name in BARRED)
    say(f'bar {BAR} % of seeds and predictions  {"met" if met else "MISSED"}\n')
    if args.json:
        save_json(args.json, dict(about=about, stages=found, met=met))


if __name__ == '__main__':
    main()
