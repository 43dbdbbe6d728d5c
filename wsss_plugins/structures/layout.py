"""The layout of a work dir: names of the files and folders that stages write.

A work dir has ``experiment.json`` and a folder for each stage. The folder of every stage
has a record; its other files depend on the stage.
"""

from __future__ import annotations

from pathlib import Path

IDENTITY_FILE = 'experiment.json'
"""File of a work dir with the experiment that the work dir belongs to."""
PREVIOUS = '.previous'
"""Folder of a work dir with earlier results that were moved aside."""
LOCK_FILE = '.lock'
"""File of a work dir that names the run which uses it, for the duration of the run."""
TRAINING = '.training'
"""Folder with the record of a training outside of a pipeline, in its work dir."""
REDO_FILE = '.redo.json'
"""File of a work dir with the stages of ``--redo`` that have not been run again yet."""

CONTENTS = '.data'
"""Folder of a work dir with the hashes of the files that its stages read from outside."""

RECORD_FILE = 'record.json'
"""File of every stage with its settings, its metrics, and whether the stage is done."""
CONFIG_FILE = 'config.json'
"""File of every stage with the config and the data that its result depends on."""
FAILURES_FILE = 'failures.json'
"""File of a stage with the images on which it failed, and the reasons."""

MODEL_FILE = 'model.json'
"""File of a training with the config of the trained model."""
FORMER_MODEL_FILE = 'model.py'
"""File that earlier versions wrote in place of ``model.json``; it is never run."""
WEIGHTS_FILE = 'weights.safetensors'
"""File of a training with the weights of the trained model."""
RESUME_FILE = 'resume.pth'
"""File of a training with the checkpoint from which an interrupted training resumes."""
METRICS_FILE = 'metrics.json'
"""File of a training or a test outside of a pipeline with its metrics and their card."""

PHOTOS_FILE = 'photos.json'
"""Beside predictions outside a pipeline: hash of the photos that they are of."""

SCORES_FILE = 'scores.json'
"""File of an evaluation with all its measures."""
IMAGES_FILE = 'per_image.json'
"""File of an evaluation of label maps with the mIoU of each image."""
CLASSES_FILE = 'classes.csv'
"""File of an evaluation with the measures of each class."""
TABLE_FILE = 'table.csv'
"""File of an evaluation of several methods with a row for each method."""
TEXT_TABLE_FILE = 'table.md'
"""File of an evaluation of several methods with a row for each method, as Markdown."""
FIGURE_FILE = 'figure.png'
"""File of a sweep with curves of its measures."""
THRESHOLD_FILE = 'threshold.json'
"""File of a refinement with the label-free threshold of the background."""
REPORT_FILE = 'report.html'
"""File of a report."""
ERRORS_FILE = 'errors.json'
"""File of a look at errors with all its measures."""
ERRORS_TABLE_FILE = 'images.csv'
"""File of a look at errors with a row for each image."""
ERRORS_PAGE_FILE = 'errors.html'
"""Page of a look at errors."""

SEEDS, LABELS = 'seeds', 'labels'
"""Folders with the seed and the label map of each image."""
INSTANCES = 'instances'
"""Folder with the objects of each image."""
CONFIDENT_SCORES = 'scores'
"""Folder beside ``labels`` with the scores on which AffinityNet is trained."""
PARTS = 'parts'
"""Folder with the intermediate results of a stage that can be interrupted."""


def seed_path(stage: Path, name: str) -> Path:
    """Path of the seed of image ``name`` in the folder of a stage."""
    return stage / SEEDS / f'{name}.npz'


def label_path(stage: Path, name: str) -> Path:
    """Path of the label map of image ``name`` in the folder of a stage."""
    return stage / LABELS / f'{name}.png'


def confident_scores_path(stage: Path, name: str) -> Path:
    """Path of the confident scores of image ``name`` in the folder of a stage."""
    return stage / CONFIDENT_SCORES / f'{name}.npz'


def instances_path(stage: Path, name: str) -> Path:
    """Path of the objects of image ``name`` in the folder of a stage."""
    return stage / INSTANCES / f'{name}.npz'
