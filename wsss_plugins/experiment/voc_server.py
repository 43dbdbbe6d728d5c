"""Packs predictions of the test images of Pascal VOC for its test server."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsss_plugins.config import find_type
from wsss_plugins.datasets import VOC12, WSSSDataset
from wsss_plugins.datasets.configs import bare_config
from wsss_plugins.engine.workers import barrier, rank
from wsss_plugins.errors import ConfigError
from wsss_plugins.experiment.testing import (
    NOT_FOR_PREDICTION,
    images_to_test,
    predict_images,
)
from wsss_plugins.registry import DATASETS, build_as
from wsss_plugins.stages.submission import (
    check_archive,
    folder_of,
    photo_sizes,
    write_archive,
)


def voc_test_images(cfg: Config, split: str = 'test') -> dict[str, Any]:
    """Config of VOC's test images, which have no labels.

    Args:
        cfg: A config whose test or validation images are a :class:`VOC12`.
        split: Name of the list of test images.

    Raises:
        ConfigError: The images of the config are not of :class:`VOC12`.
    """
    images = images_to_test(cfg)
    kind = find_type(images['type'])
    if not (inspect.isclass(kind) and issubclass(kind, VOC12)):
        name = getattr(kind, '__name__', str(kind))
        raise ConfigError(
            f'the test server is that of Pascal VOC: the images of this config are of {name}',
            token=name,
        )
    return bare_config(images, *NOT_FOR_PREDICTION, split=split, labels=None)


def pack_test_images(
    cfg: Config,
    checkpoint: Path,
    out: Path,
    work_dir: Path,
    split: str = 'test',
    competition: int = 6,
) -> str:
    """Predicts VOC's test images and packs the label maps for the server.

    Args:
        cfg: A config whose test or validation images are a :class:`VOC12`.
        checkpoint: Weights of the config's segmentor.
        out: The archive to write, ``FILE.tar.gz``.
        work_dir: Folder of the predictions.
        split: Name of the list of test images.
        competition: Number of the competition, see
            :class:`wsss_plugins.stages.submission.SubmissionStage`.

    Returns:
        One line that describes the archive.

    Raises:
        ConfigError: The name of ``out`` ends with neither '.tar.gz' nor '.tgz',
            ``competition`` is neither 5 nor 6, or the images are no :class:`VOC12`.
        DataError: The ids in the list are not those of the official test images.
    """
    if not out.name.endswith(('.tar.gz', '.tgz')):
        raise ConfigError(f"--format-only needs --out FILE.tar.gz, not '{out}'")
    folder = folder_of(competition)
    images = voc_test_images(cfg, split)
    dataset = build_as(DATASETS, images, WSSSDataset)
    photo_sizes(dataset)  # refuses a wrong list before hours of prediction
    predictions = predict_images(cfg, checkpoint, images, work_dir)
    if rank() == 0:
        write_archive(out, predictions, dataset, competition)
    barrier()
    content = out.read_bytes()
    return (
        f'{out}: {len(dataset)} label maps in {folder}, {len(content) / 1e6:.2f} MB, '
        f'SHA-256 {hashlib.sha256(content).hexdigest()[:16]}'
    )


def check_packed(cfg: Config, archive: Path, split: str = 'test') -> str:
    """Checks an archive against the test images that it must hold.

    Args:
        cfg: A config whose test or validation images are a :class:`VOC12`.
        archive: A file of :func:`pack_test_images`.
        split: Name of the list of test images.

    Returns:
        One line that describes the archive.

    Raises:
        ConfigError: The images of the config are no :class:`VOC12`.
        DataError: The archive is damaged or incomplete, or holds a file that the server
            does not accept.
    """
    dataset = build_as(DATASETS, voc_test_images(cfg, split), WSSSDataset)
    classes = len(dataset.metainfo['classes'])
    found = check_archive(archive, photo_sizes(dataset), classes)
    return f'{archive} is complete: {len(dataset)} label maps for comp{found}'
