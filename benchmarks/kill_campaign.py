#!/usr/bin/env python
"""Kills a pipeline at random moments and compares what it leaves with an uninterrupted run.

    python benchmarks/kill_campaign.py --kills 100 --seed 0

The pipeline (kill_pipeline.py) has every kind of stage, and runs by turns with one worker
and with two. It is killed with SIGKILL at a random moment or within the writing of a random
file, which is then half written, whole or just renamed; either all processes are killed or
one of them, be it a worker or a reader of photos. Between these kills, Ctrl-C and SIGTERM
end it. Each time the same command goes on. When it has finished, every file in the work dir
must hold the bytes of a run that nothing interrupted: arrays, label maps, weights,
checkpoints, metrics, records and cards. A clock that stands still leaves no times in them;
the logs of mmengine are left out. All runs are forks of one process, which imports the
package once, and leave out the checks before work.

With ``--folder`` a campaign that was itself ended goes on after its last whole pass, and
``--kills`` of at most the number that it has reached prints its table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from killed_run import CONFIG, Moment, Run, keep_warm

TRAIN, VAL = 8, 4
BETWEEN = 'between stages'
COLUMNS = ('SIGKILL, one', 'SIGKILL, all', 'SIGKILL in a file', 'SIGINT', 'SIGTERM')
PART_FILES = '.*.part*'
LOGS = re.compile(r'\d{8}_\d{6}')
STATE = 'campaign.json'
GIVEN = ('seed', 'workers', 'asked')
FOUND = ('table', 'lost', 'faults', 'seconds', 'compared', 'passes', 'taken')


def main() -> None:
    """Reads the options, runs the campaign and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=100, help='number of SIGKILLs')
    parser.add_argument('--seed', type=int, default=0, help='of the random moments')
    parser.add_argument(
        '--workers', type=int, nargs='+', default=[1, 2], help='numbers of workers'
    )
    parser.add_argument(
        '--folder', type=Path, help='where to work (default: temporary)'
    )
    parser.add_argument(
        '--asked',
        type=float,
        default=0.15,
        help='share of runs ended by SIGINT, SIGTERM',
    )
    args = parser.parse_args()
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    with tempfile.TemporaryDirectory() as scratch:
        folder = (args.folder or Path(scratch)).resolve()
        os.environ['WSSS_PLUGINS_CACHE'] = str(folder / 'cache')
        campaign = Campaign(folder, args.seed, args.workers, args.asked)
        if not campaign.go_on():
            write_data(folder)
        keep_warm(folder)
        campaign.run(args.kills)
    for line in campaign.report():
        print(line)
    print(f'{campaign.taken:.0f} s')
    if campaign.lost or campaign.faults:
        sys.exit(1)


def write_data(folder: Path) -> None:
    """Writes photos, masks, image-level labels, and what another program is to have made."""
    import numpy as np
    import torch
    from trees import make_coco, square

    from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit
    from wsss_plugins.structures import Seed, save_label_map

    spec = SyntheticSpec(size=(32, 40))
    write_devkit(folder / 'data', spec, train=TRAIN, val=VAL, workers=1)
    root = folder / 'data/VOC2012'
    photos = (root / 'ImageSets/Segmentation/train.txt').read_text().split()
    chance = np.random.default_rng(0)
    for name in photos:
        scores = torch.tensor(chance.random((1, 32, 40)), dtype=torch.float32)
        Seed(scores, torch.tensor([0])).save(folder / f'maps/{name}.npz')
        label = chance.integers(0, 3, (32, 40)).astype(np.uint8)
        save_label_map(folder / f'labels/{name}.png', label)
    make_coco(root, ['a.jpg', 'b.jpg'], [square(1, 1, id=1), square(1, 2, id=2)])
    for name in ('a', 'b'):
        scores = torch.tensor(chance.random((1, 6, 10)), dtype=torch.float32)
        Seed(scores, torch.tensor([0])).save(folder / f'maps_coco/{name}.npz')


@dataclass
class Campaign:
    """Kills runs until there are enough kills.

    Attributes:
        folder: With the data; work dirs are made in it.
        seed: Of the random moments.
        workers: Numbers of workers, which take turns.
        asked: Share of runs that Ctrl-C or SIGTERM ends.
        table: Kills and other ends by stage.
        lost: Files that were missing or had other bytes.
        faults: Whatever else was not as it should be.
        seconds: What the stages take without a kill, with each of the numbers of workers.
        compared: Number of files that were compared.
        passes: Number of pipelines that were killed until they had finished.
        taken: Seconds of the campaign.
    """

    folder: Path
    seed: int
    workers: list[int]
    asked: float
    table: dict[str, Counter[str]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    compared: int = 0
    passes: int = 0
    taken: float = 0.0

    @property
    def kills(self) -> int:
        """Number of SIGKILLs so far."""
        total = sum(self.table.values(), Counter())
        return sum(number for how, number in total.items() if 'KILL' in how)

    def go_on(self) -> bool:
        """Reads what an earlier campaign found in the folder; False if there was none."""
        path = self.folder / STATE
        if not path.is_file():
            return False
        found = json.loads(path.read_text('utf-8'))
        if any(found[key] != getattr(self, key) for key in GIVEN):
            sys.exit(f'error: {path} is of other options: choose another folder')
        for key in FOUND:
            setattr(self, key, found[key])
        self.table = {stage: Counter(c) for stage, c in self.table.items()}
        return True

    def _keep(self) -> None:
        """Writes what was found so far."""
        path = self.folder / STATE
        part = path.with_suffix('.part')
        content = {key: getattr(self, key) for key in (*GIVEN, *FOUND)}
        part.write_text(json.dumps(content), 'utf-8')
        part.rename(path)

    def run(self, kills: int) -> None:
        """Runs the pipeline uninterrupted, and then again and again with kills.

        Args:
            kills: Number of SIGKILLs.
        """
        begin = time.monotonic() - self.taken
        whole = []
        for index, count in enumerate(self.workers):
            work_dir = self.folder / f'whole_{index}'
            if index == len(self.seconds):
                Run(self.folder, work_dir, count).finish(self.faults)
                self.seconds.append(span(work_dir))
                self._keep()
            whole.append(contents(work_dir))
        while self.kills < kills:
            index = self.passes % len(self.workers)
            self._pass(index, whole[index], kills)
            self.passes += 1
            self.taken = time.monotonic() - begin
            self._keep()

    def _pass(self, index: int, whole: dict[str, bytes], kills: int) -> None:
        """Kills one pipeline until it has finished, or until there are enough kills."""
        chance = random.Random(f'{self.seed} {self.passes}')
        count, seconds = self.workers[index], self.seconds[index]
        work_dir = self.folder / f'killed_{self.passes}'
        shutil.rmtree(work_dir, ignore_errors=True)
        there: set[str] = set()
        while self.kills < kills:
            moment = Moment.drawn(chance, self.asked)
            run = Run(self.folder, work_dir, count, moment, seconds)
            if not run.interrupt(chance, self.faults):
                break  # it has finished before
            stage, how = stage_in(work_dir), moment.how()
            self.table.setdefault(stage, Counter())[how] += 1
            self._compare(work_dir, whole, there, f'{how} in {stage}')
            sys.stderr.write(f'{self.kills}: {how} in {stage}, {count} worker(s)\n')
        Run(self.folder, work_dir, count).finish(self.faults)
        when = f'end of pass {self.passes}'
        self._compare(work_dir, whole, there, when, finished=True)
        shutil.rmtree(work_dir)

    def _compare(
        self,
        work_dir: Path,
        whole: dict[str, bytes],
        there: set[str],
        when: str,
        finished: bool = False,
    ) -> None:
        """Notes the files that differ or are gone.

        Args:
            work_dir: Of the run that was ended.
            whole: All files of an uninterrupted run.
            there: Files that were there after earlier kills and are written once; those of
                now are added.
            when: What happened, for the note.
            finished: Whether all files must be there; otherwise those that are written once
                are compared as far as they are there.
        """
        found = contents(work_dir)
        once = {name for name in found if is_final(name)}
        names = found.keys() | whole.keys() if finished else once & whole.keys()
        self.compared += len(names)
        wrong = {name for name in names if found.get(name) != whole.get(name)}
        self.lost += [f'{when}: {name}' for name in sorted(wrong | there - once)]
        there |= once

    def report(self) -> list[str]:
        """The table of kills by stage, as Markdown, and what was lost."""
        kinds = kinds_of_stages()
        order = [BETWEEN, *kinds]
        lines = [f'| stage | {" | ".join(COLUMNS)} |', '|---|' + '---|' * len(COLUMNS)]
        total = sum(self.table.values(), Counter())
        for stage in sorted(self.table, key=order.index):
            counts = self.table[stage]
            title = f'{stage} ({kinds[stage]})' if stage in kinds else stage
            cells = [title, *(str(counts[column] or '') for column in COLUMNS)]
            lines.append(f'| {" | ".join(cells)} |')
        lines.append(f'| all | {" | ".join(str(total[c]) for c in COLUMNS)} |')
        lines += ['', *(f'fault: {fault}' for fault in self.faults)]
        lines += [f'lost: {name}' for name in self.lost[:20]]
        lines.append(
            f'{self.kills} kills in {self.passes} passes by turns with {self.workers} workers; '
            f'{self.compared} comparisons of files; faults: {len(self.faults)}; '
            f'lost: {len(self.lost)}'
        )
        return lines


def kinds_of_stages() -> dict[str, str]:
    """The kind of each stage of the pipeline, by name, in order."""
    from wsss_plugins.config import load_config

    return {s['name']: s['type'].__name__ for s in load_config(CONFIG).pipeline}


def stage_in(work_dir: Path) -> str:
    """The stage that has begun and is not done."""
    for path in work_dir.glob('*/record.json'):
        if not json.loads(path.read_text('utf-8'))['done']:
            return path.parent.name
    return BETWEEN


def span(work_dir: Path) -> float:
    """Seconds between the first file that a run wrote and the last."""
    times = [path.stat().st_mtime for path in work_dir.rglob('*') if path.is_file()]
    return max(times) - min(times)


def contents(work_dir: Path) -> dict[str, bytes]:
    """A digest of every file, by name; without logs, the lock and files in the making."""
    found = {}
    for path in work_dir.rglob('*'):
        name = path.relative_to(work_dir)
        hidden = name.match(PART_FILES) or name.name == '.lock'
        if path.is_file() and not hidden and not any(map(LOGS.match, name.parts)):
            found[str(name)] = digest(path)
    return found


def digest(path: Path) -> bytes:
    """A hash of a file; of a checkpoint without the name that torch gives its archive."""
    content = path.read_bytes()
    if path.suffix == '.pth':
        with zipfile.ZipFile(path) as archive:
            parts = [(i.filename.split('/', 1)[1], i.CRC) for i in archive.infolist()]
        content = repr(sorted(parts)).encode()
    return hashlib.sha256(content).digest()


def is_final(name: str) -> bool:
    """Whether a file is written once, and not when its stage goes on."""
    path = Path(name)
    return (
        path.suffix in ('.npz', '.npy', '.png', '.safetensors') and path.stem != 'rates'
    )


if __name__ == '__main__':
    main()
