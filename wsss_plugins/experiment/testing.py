"""Predicts with a checkpoint outside of a pipeline, and measures the predictions."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.models.segmentors import BaseSegmentor

from wsss_plugins.backbones import load_weights, read_weights
from wsss_plugins.config import plain
from wsss_plugins.datasets.configs import bare_config
from wsss_plugins.engine.class_names import (
    classes_of_weights,
    note_trained_classes,
    refuse_other_names,
)
from wsss_plugins.engine.code_digests import CodeDigests
from wsss_plugins.engine.contents import Content
from wsss_plugins.engine.fingerprint import DataDigests, fingerprint
from wsss_plugins.engine.model_file import forget_starts
from wsss_plugins.engine.record import environment
from wsss_plugins.engine.workers import barrier, device, rank, world_size
from wsss_plugins.errors import CheckpointError, ConfigError
from wsss_plugins.progress import say
from wsss_plugins.provenance.files import card_of_weights, save_metrics, unknown_card
from wsss_plugins.provenance.images import ImageRegister
from wsss_plugins.provenance.run import Ran, make_card, run_with_card, session_of
from wsss_plugins.registry import MODELS, SCOPE, build_as
from wsss_plugins.stages.evaluate import EvaluateLabelStage
from wsss_plugins.stages.predict import PredictStage
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.card import SupervisionCard, Tags
from wsss_plugins.structures.layout import METRICS_FILE, PHOTOS_FILE
from wsss_plugins.structures.measured import Measured

NOT_FOR_PREDICTION = ('label_maps', 'indices', 'leave_out')


def load_segmentor(model: Config, checkpoint: Path) -> BaseSegmentor:
    """Builds a segmentor and loads the weights of a checkpoint.

    Args:
        model: Config of the segmentor.
        checkpoint: ``weights.safetensors``, ``resume.pth`` or another file of weights.

    Returns:
        The segmentor, in evaluation mode, on this worker's device.

    Raises:
        CheckpointError: The file is missing or damaged, or its weights do not fit the
            segmentor.
        ConfigError: The model is no segmentor of mmsegmentation.
    """
    init_default_scope(SCOPE)
    bare = Config(dict(model=model)).model  # a copy
    forget_starts(bare)
    segmentor = build_as(MODELS, bare, BaseSegmentor)
    weights = read_weights(checkpoint)
    load_weights(segmentor, weights, str(checkpoint), strict=True)
    note_trained_classes(segmentor, classes_of_weights(checkpoint))
    return segmentor.eval().to(device())


def refuse_other_classes_of(checkpoint: Path, dataset: object) -> None:
    """Refuses a data set of other classes than the weights of a checkpoint learnt.

    Args:
        checkpoint: The weights; those without class names fit any data set.
        dataset: The data set of a test loop.

    Raises:
        DataError: A name or the order differs; names the first difference.
    """
    there = getattr(dataset, 'foreground_classes', ())
    kind = type(dataset).__name__
    name = f'{kind} {getattr(dataset, "root", "")}'.strip()
    refuse_other_names(
        classes_of_weights(checkpoint), there, f'the model of {checkpoint}', name
    )


def images_to_test(cfg: Config) -> dict[str, Any]:
    """Config of the test images; of the validation images if there are no test images.

    Raises:
        ConfigError: The config has neither ``test_dataloader`` nor ``val_dataloader``.
    """
    for part in ('test_dataloader', 'val_dataloader'):
        if cfg.get(part) is not None:
            return dict(cfg[part].dataset.to_dict(), test_mode=True)
    raise ConfigError(
        'the config has neither test_dataloader nor val_dataloader: name its images there'
    )


def predict_images(
    cfg: Config, checkpoint: Path, images: dict[str, Any], work_dir: Path
) -> Path:
    """Predicts images with the scales, mirroring and refiners of the config's ``prediction``.

    Predictions that the same checkpoint made with the same settings and code are reused.

    Args:
        cfg: Training config of the segmentor.
        checkpoint: Weights of the segmentor.
        images: Config of the images.
        work_dir: Folder of the predictions.

    Returns:
        A folder with ``labels/<id>.png``, and ``metrics.json`` with their card.

    Raises:
        CheckpointError: The checkpoint does not exist, or does not fit the model of the
            config.
        ConfigError: A refiner needs a model that only a pipeline trains.
    """
    if not checkpoint.is_file():
        raise CheckpointError(f'checkpoint {checkpoint} does not exist')
    settings = cfg.get('prediction') or {}
    bare = bare_config(images, *NOT_FOR_PREDICTION)
    stage_config = dict(settings, dataset=bare, name='prediction', model='checkpoint')
    stage = PredictStage(**stage_config)
    if stage.refiners.stages:
        raise ConfigError(
            f"the refiners of 'prediction' need the stage '{stage.refiners.stages[0]}': "
            'put a PredictStage into a pipeline',
            token='prediction',
        )
    digests = DataDigests()
    (data,) = digests(dict(dataset=bare), stage.needs_every_image)
    content = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    settled_by: list[Any] = [plain(cfg.model), plain(stage_config), data, content]
    code = CodeDigests()(dict(stage_config, model=cfg.model), PredictStage)
    settled_by += [code] if code else []
    out = work_dir / 'predictions' / fingerprint(settled_by, 0, {})
    model = load_segmentor(cfg.model, checkpoint)
    _remove_those_of_other_photos(out, digests.contents(dict(dataset=bare), stage))
    metrics, card = run_with_card(
        stage,
        out,
        {},
        config=stage_config,
        cards={'checkpoint': card_of_weights(checkpoint) or unknown_card('checkpoint')},
        work=lambda: stage.predict(model, out),
    )
    if rank() == 0:
        save_metrics(out / METRICS_FILE, metrics, card)
    barrier()
    return out


def _remove_those_of_other_photos(out: Path, contents: Mapping[str, Content]) -> None:
    """Removes predictions of photos that have changed since; every worker calls it.

    Predictions of a version that did not note what the photos held are kept, with a word.
    """
    if rank() == 0:
        now = {name: content.digest for name, content in contents.items()}
        path = out / PHOTOS_FILE
        before = load_json(path) if path.is_file() else None
        if before is None and out.is_dir():
            say(
                f'{out}: an earlier version made these predictions and did not note what '
                'the photos held: they are taken as made from the photos of today'
            )
        elif before not in (None, now):
            for name, content in contents.items():
                if before.get(name) != now[name]:
                    say(f'predicted anew: {content.changes(out, before.get(name))}')
            shutil.rmtree(out)
        save_json(path, now)
        for content in contents.values():
            content.save(out)
    barrier()


def score_predictions(
    images: dict[str, Any], predictions: Path, work_dir: Path
) -> dict[str, Any]:
    """Measures predictions, and writes tables with their card to ``work_dir/scores``.

    Args:
        images: Config of the images with their label maps.
        predictions: Folder that :func:`predict_images` returned.
        work_dir: Folder in which ``scores`` is made.

    Returns:
        The metrics of :class:`EvaluateLabelStage`.
    """
    out, inputs = work_dir / 'scores', dict(prediction=predictions)
    stage = EvaluateLabelStage('scores', 'prediction', images)
    metrics, _ = run_with_card(stage, out, inputs, config=dict(dataset=images))
    return metrics


def card_of_test(checkpoint: Path, images: dict[str, Any]) -> SupervisionCard:
    """Makes the card of metrics that mmengine's Runner measured.

    The Runner measures whole images in one view, and uses no image-level labels.

    Args:
        checkpoint: The weights. If they have no card, their training counts as unknown.
        images: Config of the images and their label maps, which were read.
    """
    measured = Measured(
        images=images, masks=True, labels=Tags.NONE(), scales=(1.0,), flip=False
    )
    known = card_of_weights(checkpoint) or unknown_card(checkpoint.name)
    session = replace(session_of(environment(world_size()), 0), seeds=())
    inputs = {'checkpoint': known}
    return make_card(Ran('test', measured), inputs, ImageRegister(), session)
