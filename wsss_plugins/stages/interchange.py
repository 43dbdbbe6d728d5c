"""Stages that import seeds and label maps of other projects, and export seeds to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.failures import one_by_one
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import rank, share_of
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.progress import ProgressBar
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.structures import IGNORE, Seed, save_label_map
from wsss_plugins.structures.card import Tags
from wsss_plugins.structures.interchange import load_seed, save_seed, seed_format
from wsss_plugins.structures.label_import import read_label_map
from wsss_plugins.structures.layout import SEEDS, label_path, seed_path
from wsss_plugins.structures.measured import Measured

EXPORTED = 'maps'
"""Name of the folder of exported files, in that of the stage."""


class _ImportStage(Stage):
    """Base class of import stages: a folder, a data set, and a loop over its images.

    Images whose file is missing, damaged or refused are left out; the metric ``failed``
    is their number. A photo without image-level labels needs no seed. If the files change,
    the stage runs again, and so do the stages that read it.
    """

    needs_every_image = False
    reads_masks = False

    def __init__(self, name: str, path: str | Path, dataset: dict[str, Any]) -> None:
        super().__init__(name)
        self.path = Path(path)
        if not self.path.is_dir():
            raise DataError(
                f"folder {path} of stage '{name}' does not exist: correct its path"
            )
        self.dataset = dict(dataset, require_images=False)

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Imports the files of all images that have not been imported yet."""
        dataset = build_as(DATASETS, self.dataset, WSSSDataset)
        ids = dataset.ids

        def convert(index: int) -> None:
            """Writes what the other project made of an image."""
            self._convert(dataset, index, ids[index], self._target(out, ids[index]))

        failed = one_by_one(self.name, out, ids, self._target, convert)
        return dict(images=len(ids), failed=failed)

    def files_read(self) -> dict[str, list[Path]]:
        """All files of the other project's folder and its subfolders."""
        found = self.path.rglob('*')
        files = sorted(f for f in found if f.is_file() and not f.name.startswith('.'))
        return {str(self.path): files}

    def _target(self, out: Path, name: str) -> Path:
        """Path of the file to write for image ``name``."""
        raise NotImplementedError

    def _convert(
        self, dataset: WSSSDataset, index: int, name: str, target: Path
    ) -> None:
        """Reads the other project's file of image ``name`` and writes ``target``."""
        raise NotImplementedError


@STAGES.register_module()
class ImportSeedStage(_ImportStage):
    """Imports seeds of another project: writes ``seeds/<id>.npz`` from ``<id>.npy``.

    Maps are resized to the size of the photo. Pickled files are parsed; no code in them
    is run.

    Args:
        name: Name of the stage.
        path: Folder of the other project's files, absolute or relative to the current
            directory.
        dataset: Config of the images.
        format: Format of the files, a name in :data:`SEED_FORMATS`: 'irn', 'psa', 'seam',
            'mctformer', 'acr' or 'wsss'.
        with_background: True if id 0 in the files is the background, see
            :func:`load_seed`.
        normalise: True to scale the map of every class to [0, 1]; None does so only if a
            value exceeds 1.
        only_tagged: True to leave out classes that are not image-level labels of the
            image.

    Raises:
        ConfigError: ``format`` is not in :data:`SEED_FORMATS`.
        DataError: The folder ``path`` does not exist.
    """

    def __init__(
        self,
        name: str,
        path: str | Path,
        dataset: dict[str, Any],
        format: str = 'psa',
        with_background: bool = False,
        normalise: bool | None = None,
        only_tagged: bool = False,
    ) -> None:
        super().__init__(name, path, dataset)
        self.suffix = seed_format(format).suffix
        self.format = format
        self.with_background = with_background
        self.normalise = normalise
        self.only_tagged = only_tagged

    def measured(self) -> Measured:
        """Declares the folder, the format, and how maps were normalised."""
        scaled = 'where a value exceeds 1' if self.normalise is None else self.normalise
        return Measured(
            images=self.dataset,
            made_elsewhere=self.path,
            labels=Tags.TRUE() if self.only_tagged else Tags.FILES(),
            details=dict(seeds=f'{self.path} (format {self.format})', normalise=scaled),
        )

    def _target(self, out: Path, name: str) -> Path:
        return seed_path(out, name)

    def _convert(
        self, dataset: WSSSDataset, index: int, name: str, target: Path
    ) -> None:
        tagged = np.flatnonzero(dataset.labels(index)).tolist()
        source = self.path / f'{name}{self.suffix}'
        size = dataset.image_size(index)
        if not tagged and not source.is_file():  # other projects write no file here
            Seed(torch.zeros(0, *size), torch.zeros(0, dtype=torch.int64)).save(target)
            return
        seed = load_seed(
            source,
            self.format,
            size,
            num_classes=len(dataset.foreground_classes),
            with_background=self.with_background,
            normalise=self.normalise,
            only=tagged if self.only_tagged else None,
        )
        seed.save(target)


@STAGES.register_module()
class ImportLabelStage(_ImportStage):
    """Imports label maps of another project: ``labels/<id>.png`` from ``.png`` or ``.npy``.

    Indexed and grey images, images in the colours of Pascal VOC, and integer arrays are
    accepted. The value 255 means ignored. A label map must have the size of its photo.

    Args:
        name: Name of the stage.
        path: Folder of the other project's files, absolute or relative to the current
            directory.
        dataset: Config of the images; masks are not read.
        values: Replacements of labels, as a dict from the value in the files to the label
            here, such as ``{0: 255}``. Label 0 is the background, label c + 1 is class c.

    Raises:
        DataError: The folder ``path`` does not exist.
    """

    def __init__(
        self,
        name: str,
        path: str | Path,
        dataset: dict[str, Any],
        values: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__(name, path, dataset)
        self.values = {
            int(theirs): int(ours) for theirs, ours in (values or {}).items()
        }

    def measured(self) -> Measured:
        """Declares the folder, and which labels were replaced."""
        renamed = ', '.join(f'{a} as {b}' for a, b in self.values.items())
        return Measured(
            images=self.dataset,
            made_elsewhere=self.path,
            details=dict(labels=f'{self.path}', renamed=renamed or 'none'),
        )

    def _target(self, out: Path, name: str) -> Path:
        return label_path(out, name)

    def _convert(
        self, dataset: WSSSDataset, index: int, name: str, target: Path
    ) -> None:
        picture = self.path / f'{name}.png'
        array = picture.with_name(f'{picture.stem}.npy')
        source = array if array.is_file() and not picture.is_file() else picture
        label = read_label_map(source, self.values)
        size, most = dataset.image_size(index), len(dataset.foreground_classes)
        if label.shape != size:
            raise DataError(
                f'{source} is {label.shape} (height, width) but its photo is {size}: '
                'give label maps in the size of the photos'
            )
        wrong = np.unique(label[(label > most) & (label != IGNORE)])
        if wrong.size:
            raise DataError(
                f'{source} has the label {wrong[0]}: allowed are 0 to {most} and '
                f'{IGNORE} (not counted); rename others with values={{theirs: ours}}'
            )
        save_label_map(target, label)


@STAGES.register_module()
class ExportSeedStage(Stage):
    """Exports the seeds of a stage to another project: writes ``maps/<id>.npy``.

    Args:
        name: Name of the stage.
        seeds: Name of the stage that made the seeds.
        format: Format of the other project, a name in :data:`SEED_FORMATS`: 'irn', 'psa',
            'seam', 'mctformer', 'acr' or 'wsss'.
        with_background: True to write the background as id 0 and class c as id c + 1. The
            seeds must then have a background.

    Raises:
        ConfigError: ``format`` is not in :data:`SEED_FORMATS`, or ``with_background`` is
            set for 'irn' or 'wsss', which have no id for the background.
    """

    def __init__(
        self,
        name: str,
        seeds: str,
        format: str = 'psa',
        with_background: bool = False,
    ) -> None:
        super().__init__(name)
        self.suffix = seed_format(format).suffix
        if with_background and format in ('irn', 'wsss'):
            raise ConfigError(
                f"stage '{name}': files of the format {format} give the background no id: "
                'leave with_background out',
                token='with_background',
            )
        self.seeds = seeds
        self.inputs = (seeds,)
        self.format = format
        self.with_background = with_background

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Exports the seeds that have not been exported yet."""
        seeds = inputs[self.seeds] / SEEDS
        names = sorted(_names(seeds))
        if not names:
            raise DataError(f'{seeds} holds no seeds: run the stage that makes them')
        mine = share_of(names)
        todo = [n for n in mine if not self._file(out, n).is_file()]
        with ProgressBar(self.name, len(mine), quiet=rank() != 0) as bar:
            bar.begin_at(len(mine) - len(todo))
            for name in todo:
                seed = Seed.load(seed_path(inputs[self.seeds], name))
                target = self._file(out, name)
                save_seed(target, seed, self.format, self.with_background)
                bar.advance()
        return dict(files=len(names))

    def measured(self) -> Measured:
        """Declares the format of the exported files."""
        background = ' with background' if self.with_background else ''
        return Measured(details=dict(format=self.format + background))

    def _file(self, out: Path, name: str) -> Path:
        return out / EXPORTED / f'{name}{self.suffix}'


def _names(folder: Path) -> Iterator[str]:
    """Ids of the seeds in a folder and its subfolders."""
    for path in folder.rglob('*.npz'):
        if not path.name.startswith('.'):
            yield path.relative_to(folder).with_suffix('').as_posix()
