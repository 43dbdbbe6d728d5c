#!/usr/bin/env python
"""How long it takes to know what the photos of a data set hold, at first and again.

Writes files of the size of photos, then hashes them as a pipeline does before its first
run, and once more as before every later one. Ends with an error where either takes longer
than the bars allow.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from wsss_plugins.engine.contents import SETTLED_NS, ContentIndex

BUILT, AGAIN = 60.0, 2.0
"""Seconds that 10,000 photos may take, at first and again."""


def main() -> None:
    """Prints the seconds of building the index, and of checking it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--photos', type=int, default=10_000)
    parser.add_argument('--kilobytes', type=int, default=100, help='mean size of each')
    parser.add_argument(
        '--folder', help='where to write them (default: a temporary one)'
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        folder = Path(scratch)
        photos = write_photos(folder / 'photos', args.photos, args.kilobytes)
        time.sleep(SETTLED_NS / 1e9)  # younger files are read again by design
        size = sum(path.stat().st_size for path in photos) / 1e9
        load, cores = os.getloadavg()[0], os.cpu_count()
        print(
            f'{len(photos)} files, {size:.2f} GB; {cores} cores, load {load:.1f} before'
        )
        built, first = looked_at(folder, photos)
        again, second = looked_at(folder, photos)
        photos[len(photos) // 2].write_bytes(b'another photo')
        changed, third = looked_at(folder, photos)
    print(f'index built          {built:6.2f} s')
    print(f'checked again        {again:6.2f} s')
    print(f'one photo changed    {changed:6.2f} s')
    if not first == second != third:
        sys.exit('a change was missed, or one was seen that there was not')
    share = args.photos / 10_000
    if built > BUILT * share or again > AGAIN * max(share, 0.1):
        sys.exit(f'more than {BUILT} s or {AGAIN} s for 10,000 photos')


def write_photos(folder: Path, number: int, kilobytes: int) -> list[Path]:
    """Files of random bytes, half to one and a half times ``kilobytes`` long."""
    folder.mkdir()
    draw = random.Random(0)
    paths = [folder / f'2007_{i:06}.jpg' for i in range(number)]
    for path in paths:
        path.write_bytes(draw.randbytes(int(kilobytes * 1000 * draw.uniform(0.5, 1.5))))
    return paths


def looked_at(folder: Path, photos: list[Path]) -> tuple[float, str]:
    """Seconds until it is known what the photos hold, and its digest."""
    begin = time.perf_counter()
    index = ContentIndex(folder / 'index')
    content = index.content('photos', 'benchmark', folder / 'photos', photos)
    return time.perf_counter() - begin, content.digest


if __name__ == '__main__':
    main()
