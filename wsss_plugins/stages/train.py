"""Trains one model, and loads a trained one."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mmengine.config import Config
from mmengine.hooks import SyncBuffersHook
from mmengine.registry import init_default_scope
from torch import nn

from wsss_plugins.backbones import load_weights, maps_of, read_weights
from wsss_plugins.backbones.named_weights import declared_supervision
from wsss_plugins.backbones.timm_weights import naming_option, option_of_weights
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import LoadView, SeededSamples
from wsss_plugins.engine.class_names import classes_metadata, note_trained_classes
from wsss_plugins.engine.failures import without_failed
from wsss_plugins.engine.first_batch import refusing_at_first
from wsss_plugins.engine.model_file import (
    has_model_config,
    read_model_config,
    save_model_config,
)
from wsss_plugins.engine.rates import RatesHook
from wsss_plugins.engine.runner import (
    EpochSeedHook,
    ProgressHook,
    ResumePointHook,
    WSSSRunner,
    worker_init,
)
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import device, rank, share_of_batch, world_size
from wsss_plugins.errors import CheckpointError, ConfigError
from wsss_plugins.provenance.files import save_metrics, weights_metadata
from wsss_plugins.provenance.networks import begun_network
from wsss_plugins.provenance.run import run_with_card
from wsss_plugins.registry import MODELS, SCOPE, STAGES, build_as, find_type
from wsss_plugins.stages.classes import fill_num_classes, label_doubts
from wsss_plugins.stages.features import features_used
from wsss_plugins.structures.card import Learnt, Said, SupervisionCard, Tags
from wsss_plugins.structures.features import FeatureStore
from wsss_plugins.structures.layout import (
    LABELS,
    METRICS_FILE,
    MODEL_FILE,
    RESUME_FILE,
    WEIGHTS_FILE,
)
from wsss_plugins.structures.measured import Measured

M = TypeVar('M', bound=nn.Module)

WEIGHTS_KEYS = ('pretrained', 'load_from', 'checkpoint')
"""Keys of a training config whose values may name a weight file."""


def build_runner(
    cfg: Config, work_dir: Path, seed: int, description: str
) -> WSSSRunner:
    """Builds the Runner of a training config; arguments as in :func:`runner_config`."""
    return WSSSRunner.from_cfg(runner_config(cfg, work_dir, seed, description))


def runner_config(cfg: Config, work_dir: Path, seed: int, description: str) -> Config:
    """Completes a training config to a config of a Runner whose training resumes exactly.

    Args:
        cfg: ``model``, ``train_dataloader``, ``optim_wrapper``, ``train_cfg`` ... as
            mmengine's Runner takes them, but for the ``batch_size`` of the
            ``train_dataloader``, which is that of all workers together. The config is not
            changed.
        work_dir: Folder of checkpoints and logs. Training resumes from ``resume.pth`` if
            the folder has it.
        seed: Random seed.
        description: Text of the progress bar.

    Returns:
        A complete config of mmengine's Runner.

    Raises:
        ConfigError: ``train_cfg`` counts iterations, with which a training cannot resume
            exactly, ``custom_hooks`` is no list, or the batch cannot be shared evenly
            among the workers.
    """
    cfg = copy.deepcopy(fill_num_classes(cfg))
    train_cfg = cfg.get('train_cfg')
    if train_cfg is not None and not train_cfg.get('by_epoch', True):
        raise ConfigError('train_cfg must count epochs (by_epoch=True), not iterations')
    if not isinstance(cfg.get('custom_hooks', []), list):
        raise ConfigError(
            f'custom_hooks must be a list of hooks, not {cfg.custom_hooks!r}: change them '
            'in a config, since the command line takes numbers, text and lists of those',
            token='custom_hooks',
        )
    _complete_loaders(cfg)
    # mmengine names loggers by the second, so that stages would share one without a name.
    cfg.setdefault('experiment_name', work_dir.name)
    hooks = {'checkpoint': dict(type=ResumePointHook), **cfg.get('default_hooks', {})}
    more = [
        dict(type=EpochSeedHook),
        dict(type=SyncBuffersHook),  # workers then validate and save the same model
        dict(type=RatesHook),
        dict(type=ProgressHook, description=description),
    ]
    resume_point = work_dir / RESUME_FILE
    if resume_point.is_file():
        cfg.update(resume=True, load_from=str(resume_point))
    cfg.update(
        work_dir=str(work_dir),
        default_scope=SCOPE,
        default_hooks=hooks,
        custom_hooks=more + cfg.get('custom_hooks', []),
        randomness=dict(seed=seed),
        launcher='pytorch' if 'RANK' in os.environ else 'none',
    )
    cfg.setdefault('log_level', 'INFO')
    return cfg


def _complete_loaders(cfg: Config) -> None:
    """Seeds samples, limits the threads of loaders, and divides the training batch."""
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(loader) is not None:
            cfg[loader].setdefault(
                'worker_init_fn', dict(type=f'{worker_init.__module__}.worker_init')
            )
    if cfg.get('train_dataloader') is not None:
        loader = cfg.train_dataloader
        loader.dataset = dict(type=SeededSamples, dataset=loader.dataset)
        if loader.get('batch_size') is not None:
            loader.batch_size = share_of_batch(loader.batch_size)


def train_model(
    cfg: Config,
    work_dir: Path,
    seed: int,
    description: str,
    metadata: Mapping[str, str] | None = None,
    features: FeatureStore | None = None,
) -> dict[str, float]:
    """Trains a model, or resumes its training, and validates it.

    Args:
        cfg: A training config, see :func:`runner_config`.
        work_dir: Folder of the weights; the config of the model is written beside them.
        seed: Random seed.
        description: Text of the progress bar.
        metadata: Texts for the header of the weight file.
        features: What stands for the photos; None for the photos themselves.

    Returns:
        The metrics of the validation; empty if the config has no ``val_dataloader``.

    Raises:
        DataError: ``features`` are of another network than the model has.
        ConfigError: The first batch, or the validation, cannot be computed.
    """
    cfg = fill_num_classes(cfg)
    runner = build_runner(cfg, work_dir, seed, description)
    if features is not None:
        maps_of(runner.bare_model).check(features)
    dataset = runner.train_loop.dataloader.dataset
    classes = getattr(dataset, 'foreground_classes', ())
    if world_size() > 1 and cfg.train_dataloader.get('batch_size') is not None:
        total = cfg.train_dataloader.batch_size
        runner.logger.info(
            f'a batch is {total} images: {total // world_size()} for each of '
            f'{world_size()} workers'
        )
    runner.weights_metadata = dict(metadata or {}) | classes_metadata(classes)
    if isinstance(runner.bare_model, WSSSClassifier) and classes:
        for doubt in label_doubts(dataset):
            runner.logger.warning(f'{description}: {doubt}')
    if rank() == 0:
        save_model_config(cfg.model, work_dir, classes)
    with refusing_at_first(description, lambda: runner.iter):
        runner.train()
    with refusing_at_first(description, lambda: 0):
        metrics = runner.val() if cfg.get('val_dataloader') is not None else {}
    if features is not None:
        runner.logger.info(features_used(runner.bare_model))
    return metrics


def load_trained(folder: Path, kind: type[M]) -> M:
    """Loads the model that a training stage wrote to ``folder``; no code in it is run.

    Args:
        folder: Folder of the stage.
        kind: Class that the model must have.

    Returns:
        The model, in evaluation mode, on this worker's device.

    Raises:
        CheckpointError: ``folder`` has no finished training, the model's config names a
            type that is not registered, or the weights do not fit the model.
        ConfigError: The model is no ``kind``.
    """
    weights = folder / WEIGHTS_FILE
    if not (has_model_config(folder) and weights.is_file()):
        raise CheckpointError(
            f'{folder} holds no trained model ({MODEL_FILE}, {WEIGHTS_FILE}): '
            'run the stage that trains it'
        )
    init_default_scope(SCOPE)
    config = read_model_config(folder)
    model = build_as(MODELS, config['model'], kind)
    load_weights(model, read_weights(weights), str(weights), strict=True)
    note_trained_classes(model, config.get('classes', ()))
    return model.eval().to(device())


@STAGES.register_module()
class TrainStage(Stage):
    """Trains one model and measures it on its validation data.

    Args:
        name: Name of the stage.
        config: A training config: the path of its file, relative to the pipeline's file,
            or its content.
        options: Overrides of that file, as a dict from dotted keys to values.
        label_maps: Name of the stage on whose label maps the model is trained. Images on
            which that stage failed are left out; the metric ``left_out`` is their number.
        backbone: Name of the stage whose trained model initialises the backbone.
        features: Name of the :class:`FeatureStage` whose features stand for the photos;
            every ``LoadView`` of the config reads them.

    Raises:
        ConfigError: The text under ``pretrained_supervision`` in the config is no known
            kind of supervision.
    """

    def __init__(
        self,
        name: str,
        config: dict[str, Any],
        options: dict[str, Any] | None = None,
        label_maps: str | None = None,
        backbone: str | None = None,
        features: str | None = None,
    ) -> None:
        super().__init__(name)
        self.cfg = Config(dict(config))
        declared_supervision(self.cfg)  # refuses a wrong text before any stage runs
        self.label_maps = label_maps
        self.backbone = backbone
        self.features = features
        self.inputs = tuple(filter(None, (label_maps, backbone, features)))
        if features and not any(True for _ in _views_of(self.cfg.to_dict())):
            raise ConfigError(
                f"stage '{name}' has features, and its config loads no view: load photos "
                'with LoadView, or leave features out',
                token='features',
            )

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Trains the model, or resumes its training, and validates it."""
        cfg = copy.deepcopy(self.cfg)
        left_out = 0
        if self.label_maps:
            folder = inputs[self.label_maps].resolve()
            dataset = without_failed(cfg.train_dataloader.dataset, folder)
            dataset['label_maps'] = str(folder / LABELS)
            cfg.train_dataloader.dataset = dataset
            left_out = len(dataset.get('leave_out', ()))
        if self.backbone:
            weights = inputs[self.backbone].resolve() / WEIGHTS_FILE
            cfg.model.backbone.pretrained = str(weights)
        store = None
        if self.features:
            folder = inputs[self.features].resolve()
            store = FeatureStore(folder)
            for view in _views_of([cfg.train_dataloader, cfg.get('val_dataloader')]):
                view['features'] = str(folder)
        metadata = None if self.begun is None else weights_metadata(self.begun)
        with naming_option(self._option_of_weights):
            metrics = train_model(cfg, out, self.seed, self.name, metadata, store)
        numbers = {
            key: value if isinstance(value, int) else round(float(value), 4)
            for key, value in metrics.items()
        }
        return numbers | (dict(left_out=left_out) if left_out else {})

    def files_read(self) -> dict[str, list[Path]]:
        """The weight files that the config names."""
        given = dict.fromkeys(_weights_files(self.cfg.to_dict()))
        return {name: [Path(name)] for name in given if Path(name).is_file()}

    def _option_of_weights(self, name: str) -> str:
        """The command-line option that gives a file in place of timm's weights ``name``."""
        key = _weights_key(self.cfg, name)
        return f"""--cfg-options "pipeline.{self.name}.options={{'{key}': 'FILE'}}\""""

    def measured(self) -> Measured:
        """Declares the network, its training data, and the images of the validation.

        The validation takes one view of each image and no image-level labels.
        """
        loader = self.cfg.train_dataloader
        network, cards = begun_network(self.name, self.cfg, self.backbone)
        validation = self.cfg.get('val_dataloader') or {}
        return Measured(
            images=validation.get('dataset') or {},
            masks=True,
            without_failed=False,
            networks=(replace(network, learnt_from=self._learnt_from()),),
            training=loader.get('dataset') or {},
            begun_with=cards,
            labels=Tags.NONE(),
            scales=(1.0,),
            flip=False,
            details=dict(
                data=f'{loader.dataset.get("data_root")} {loader.dataset.get("split")}',
                supervision=f'label maps of {self.label_maps}'
                if self.label_maps
                else 'image labels',
                epochs=self.cfg.get('train_cfg', {}).get('max_epochs'),
                batch_size=loader.get('batch_size'),
                initial_weights=str(network.weights),
            ),
        )

    def _learnt_from(self) -> Said[Learnt]:
        """The annotations that the model is trained on, as far as its config tells."""
        if self.label_maps:
            return Learnt.LABEL_MAPS(self.label_maps)
        try:
            kind = find_type(self.cfg.model.get('type'))
        except ConfigError:
            return Learnt.TAGS()
        reads_labels = getattr(kind, 'learns_from_labels', True)
        return Learnt.TAGS() if reads_labels else Learnt.IMAGES()

    def provenance(self) -> dict[str, Any]:
        """Data, epochs, batch size and initial weights of the training, for the record."""
        return dict(self.measured().details)


def _views_of(node: Any) -> Iterator[Any]:
    """Every ``LoadView`` in a config."""
    if isinstance(node, Mapping):
        if 'type' in node and find_type(node['type']) is LoadView:
            yield node
        for value in node.values():
            yield from _views_of(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _views_of(value)


def _weights_files(node: Any, named: bool = False) -> Iterator[str]:
    """Yields every text at or below a key in ``WEIGHTS_KEYS``."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _weights_files(value, named or key in WEIGHTS_KEYS)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _weights_files(value, named)
    elif named and isinstance(node, str):
        yield node


def _weights_key(cfg: Config, name: str) -> str:
    """The dotted key of a config that takes a file in place of timm's weights ``name``."""
    return option_of_weights(cfg.get('model'), name) or 'model.backbone.pretrained'


def train_alone(
    cfg: Config, work_dir: Path, seed: int
) -> tuple[dict[str, Any], SupervisionCard | None]:
    """Trains a model outside of a pipeline, and writes its metrics and their card.

    Args:
        cfg: A training config.
        work_dir: Folder of the weights and of ``metrics.json``.
        seed: Random seed.

    Returns:
        The metrics, and their card, which is None on all workers but the first.
    """
    config = cfg.to_dict()
    stage = TrainStage('train', config)
    stage.seed = seed
    with naming_option(lambda name: f'--cfg-options {_weights_key(cfg, name)}=FILE'):
        metrics, card = run_with_card(stage, work_dir, {}, config=dict(config=config))
    if rank() == 0:
        save_metrics(work_dir / METRICS_FILE, metrics, card)
    return metrics, card
