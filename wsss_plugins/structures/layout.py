"""The layout of a work dir: names of the files and folders that stages write.

A work dir has ``experiment.json`` and a folder for each stage. Every stage's folder has a
record; what else is there depends on the stage.
"""

from __future__ import annotations

from pathlib import Path

IDENTITY_FILE = 'experiment.json'
"""In a work dir: the experiment that it belongs to."""
PREVIOUS = '.previous'
"""In a work dir: folder with the results that were set aside."""
LOCK_FILE = '.lock'
"""In a work dir: who is at work there, while it lasts."""
TRAINING = '.training'
"""In a work dir of a training outside of a pipeline: folder with its record."""
REDO_FILE = '.redo.json'
"""In a work dir: what ``--redo`` asked for, while it is being done."""

CONTENTS = '.data'
"""In a work dir: folder with the hash of each file that its stages read from outside."""

RECORD_FILE = 'record.json'
"""Of every stage: what it ran with, what it measured, and whether it is done."""
CONFIG_FILE = 'config.json'
"""Of every stage: the config and the data that its result follows from."""
FAILURES_FILE = 'failures.json'
"""The images that a stage went on without, and why."""

MODEL_FILE = 'model.json'
"""Of a training: the config of the trained model."""
FORMER_MODEL_FILE = 'model.py'
"""The same as versions before ``model.json`` wrote it; read as text and never run."""
WEIGHTS_FILE = 'weights.safetensors'
"""Of a training: the weights of the trained model."""
RESUME_FILE = 'resume.pth'
"""Of a training: the checkpoint from which an interrupted training goes on."""
METRICS_FILE = 'metrics.json'
"""Metrics with their supervision card, of a training or a test outside a pipeline."""

SCORES_FILE = 'scores.json'
"""Of an evaluation: all that it measured."""
IMAGES_FILE = 'per_image.json'
"""Of an evaluation of label maps: the mIoU of each image."""
CLASSES_FILE = 'classes.csv'
"""Of an evaluation: the measures of each class."""
TABLE_FILE = 'table.csv'
"""Of an evaluation that compares methods: a row for each."""
TEXT_TABLE_FILE = 'table.md'
"""The same as Markdown."""
FIGURE_FILE = 'figure.png'
"""Of a sweep: its measures as curves."""
THRESHOLD_FILE = 'threshold.json'
"""Of a refinement: the label-free threshold of its background."""
REPORT_FILE = 'report.html'
"""The page of a report."""

SEEDS, LABELS = 'seeds', 'labels'
"""Folders with the seed and the label map of each image."""
CONFIDENT_SCORES = 'scores'
"""Folder beside ``labels`` with the scores that AffinityNet learns from."""
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
