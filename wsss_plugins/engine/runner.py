"""A Runner of mmengine whose checkpoints hold no code and whose trainings resume exactly."""

from __future__ import annotations

import copy
import json
import logging
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from safetensors.torch import save_file
from torch import Tensor, nn

from wsss_plugins.backbones import load_weights, read_checkpoint, read_weights
from wsss_plugins.engine.rates import advance, rewind
from wsss_plugins.engine.schedules import (
    Length,
    counted,
    refuse_misfits,
    without_single_steps,
)
from wsss_plugins.engine.speed import Speed
from wsss_plugins.engine.visualiser import start_backends, with_files
from wsss_plugins.engine.workers import device, rank
from wsss_plugins.errors import CheckpointError, ConfigError, UserError
from wsss_plugins.progress import ProgressBar
from wsss_plugins.registry import HOOKS, RUNNERS
from wsss_plugins.shares import AS_WRITTEN, schedules_of
from wsss_plugins.structures import atomic_path
from wsss_plugins.structures.layout import RESUME_FILE, WEIGHTS_FILE


def _concerns_the_user(record: logging.LogRecord) -> bool:
    """False for mmengine's warning of each frozen weight, which is in the log file."""
    return 'is skipped since its requires_grad=False' not in record.getMessage()


@RUNNERS.register_module()
class WSSSRunner(Runner):
    """A Runner whose checkpoints hold only tensors and plain values.

    Checkpoints can be loaded with ``weights_only=True``; they are written to a temporary
    name and renamed. Distributed training also works on CPUs. The console shows only
    progress and warnings; the log file has all messages. The config may have
    ``pretrained``, a dict from names of parts of the model to weight files
    (``{'backbone': FILE}``).

    Attributes:
        weights_metadata: Texts for the header of the file of final weights.
        given_schedules: Configs of the schedules, without shares of the training; None
            before they are built and where there are none.
    """

    param_schedulers: Any
    weights_metadata: Mapping[str, str] = {}
    given_schedules: Any = None

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Builds mmengine's logger, and limits the console to warnings."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setLevel(logging.WARNING)
                handler.addFilter(_concerns_the_user)
        return logger

    def build_visualizer(self, visualizer: Any = None) -> Any:
        """Builds mmengine's visualiser and starts its backends, files among them."""
        config = with_files(visualizer)
        built = super().build_visualizer(copy.deepcopy(config))
        start_backends(built, config)
        return built

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Prepares the model as :class:`Speed` says, and wraps it for several workers."""
        speed = Speed.of(self.cfg)
        speed.prepare(model)
        return speed.in_pieces(self._wrapped(model_wrapper_cfg, model))

    def _wrapped(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wraps for distributed training, on GPUs or CPUs."""
        if (
            not self.distributed
            or model_wrapper_cfg is not None
            or is_model_wrapper(model)
        ):
            return super().wrap_model(model_wrapper_cfg, model)
        place = device()
        return MMDistributedDataParallel(
            module=model.to(place),
            device_ids=[place.index] if place.type == 'cuda' else None,
            broadcast_buffers=False,
            find_unused_parameters=self.cfg.get('find_unused_parameters', False),
        )

    def _init_model_weights(self) -> None:
        """Initialises as mmengine does, then loads the files in ``pretrained``."""
        super()._init_model_weights()
        for part, file in self.cfg.get('pretrained', {}).items():
            module = self.bare_model.get_submodule(part)
            report = load_weights(module, read_weights(file), file, strict=False)
            self.logger.info(f'{part} from {file}: {report}')

    def build_optim_wrapper(
        self, optim_wrapper: Any
    ) -> OptimWrapper | OptimWrapperDict:
        """Builds the optimiser as mmengine does, in the precision of :class:`Speed`."""
        wanted = Speed.of(self.cfg).optim_wrapper(optim_wrapper)
        return super().build_optim_wrapper(wanted)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Builds the schedules, whose shares of the training become numbers of steps.

        Raises:
            ConfigError: A schedule does not fit the length of the training, or mmengine
                refuses it.
        """
        if not any(schedules_of(scheduler)):
            return super().build_param_scheduler(scheduler)
        length = Length(self.max_epochs, len(self.train_dataloader))
        scheduler = counted(scheduler, length)
        if not self.cfg.get(AS_WRITTEN):
            refuse_misfits(scheduler, length)
        scheduler, left_out = without_single_steps(scheduler, length)
        for sentence in left_out:
            self.logger.info(sentence)
        self.given_schedules = scheduler
        try:
            return super().build_param_scheduler(scheduler)
        except ValueError as error:
            raise ConfigError(
                f'param_scheduler does not fit train_cfg ({length}): {error}; move begin, '
                'end and T_max of the schedules with the length of the training',
                token='param_scheduler',
            ) from error

    def schedules_for(self, given: Any, optimizer: Any) -> list[Any]:
        """Builds the schedules ``given``, without shares, for another optimiser."""
        return list(self._build_param_scheduler(given, optimizer))

    @property
    def bare_model(self) -> nn.Module:
        """The model without its distributed wrapper."""
        return self.model.module if is_model_wrapper(self.model) else self.model

    def load_checkpoint(
        self, filename: str, map_location: Any = 'cpu', strict: bool = True, **_: Any
    ) -> dict[str, Any]:
        """Loads weights, or a checkpoint of this Runner.

        Raises:
            CheckpointError: The file is missing, holds pickled code, is damaged, or its
                weights do not fit the model.
        """
        weights = read_weights(filename)
        report = load_weights(self.bare_model, weights, str(filename), strict)
        self.logger.info(f'{filename}: {report}')
        self._has_loaded = True
        content = read_checkpoint(filename)
        return content if 'meta' in content else {'meta': {}, 'state_dict': content}

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resumes training from a checkpoint of this Runner.

        Raises:
            CheckpointError: The checkpoint holds weights only, without the state of a
                training.
            ConfigError: An epoch has another number of iterations now, and a schedule
                follows the validation.
        """
        if 'meta' not in read_checkpoint(filename):
            raise CheckpointError(
                f'{filename} holds weights only and cannot be resumed: use load_from'
            )
        super().resume(filename, *args, **kwargs)
        self._count_from_epoch()

    def _count_from_epoch(self) -> None:
        """Counts iterations and schedules from the epoch that a training resumes with.

        With another number of workers or another batch an epoch has another number of
        iterations than it had before.
        """
        done, epoch_length = self.epoch, len(self.train_dataloader)
        if self.iter == done * epoch_length:
            return
        self.logger.warning(
            f'{done} epochs had {self.iter} iterations before and have '
            f'{done * epoch_length} now: the schedules go on from epoch {done}'
        )
        self.train_loop._iter = done * epoch_length
        for schedules in _lists(self.param_schedulers):
            if any(getattr(schedule, 'need_val_args', False) for schedule in schedules):
                raise ConfigError(
                    'a schedule that follows the validation cannot be resumed with another '
                    'number of iterations in an epoch: resume with as many workers as before',
                    token='param_scheduler',
                )
            rewind(schedules)
        if self.param_schedulers is not None:
            self.param_schedulers = super().build_param_scheduler(self.given_schedules)
        for schedules in _lists(self.param_schedulers):
            for _ in advance(schedules, done, epoch_length):
                pass

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        meta: Mapping[str, Any] | None = None,
        by_epoch: bool = True,
        **_: Any,
    ) -> None:
        """Writes weights, optimiser and schedules; only the first worker writes."""
        if rank() != 0:
            return
        content: dict[str, Any] = {
            'meta': dict(
                epoch=self.epoch + by_epoch,
                iter=self.iter + (not by_epoch),
                seed=self.seed,
                dataset_meta=getattr(self.train_dataloader.dataset, 'metainfo', None),
            ),
            'state_dict': self.bare_model.state_dict(),
            'message_hub': dict(log_scalars={}, runtime_info={}, resumed_keys={}),
            'optimizer': self.optim_wrapper.state_dict(),
            'param_schedulers': [
                _plain(s.state_dict()) for s in self.param_schedulers or []
            ],
        }
        content['meta'].update(meta or {})
        self.call_hook('before_save_checkpoint', checkpoint=content)
        with atomic_path(Path(out_dir) / filename) as part:
            torch.save(content, part)


def _lists(schedules: Any) -> list[list[Any]]:
    """The list of built schedules of each optimiser."""
    if schedules is None:
        return []
    return list(schedules.values()) if isinstance(schedules, dict) else [schedules]


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values in the state of a schedule; resuming rebuilds the other objects."""
    kinds = (int, float, str, bool, type(None), list, tuple, dict)
    return {key: value for key, value in state.items() if isinstance(value, kinds)}


@HOOKS.register_module()
class ResumePointHook(Hook):
    """Writes a checkpoint to resume from, and the final weights.

    ``resume.pth`` is replaced after every ``interval`` epochs; ``weights.safetensors``
    is written when training ends.

    Args:
        interval: Number of epochs between two checkpoints.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval

    def after_train_epoch(self, runner: Runner) -> None:
        """Writes ``resume.pth``."""
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(
            runner
        ):
            runner.save_checkpoint(runner.work_dir, RESUME_FILE)

    def after_train(self, runner: Runner) -> None:
        """Writes the final weights."""
        if rank() == 0:
            state: dict[str, Tensor] = runner.bare_model.state_dict()
            with atomic_path(Path(runner.work_dir) / WEIGHTS_FILE) as part:
                tensors = {k: v.contiguous().clone() for k, v in state.items()}
                save_file(tensors, part, dict(runner.weights_metadata) or None)
                sort_metadata(part)


def sort_metadata(path: Path) -> None:
    """Writes the texts in the header of a ``.safetensors`` file in the order of their keys.

    safetensors writes them in another order each time, so that equal trainings would
    leave unequal files.
    """
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], 'little')
    header = json.loads(content[8:end])
    texts = header.get('__metadata__', {})
    header['__metadata__'] = dict(sorted(texts.items()))
    if len(texts) < 2:
        return
    text = json.dumps(header, separators=(',', ':'), ensure_ascii=False).encode()
    text += b' ' * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, 'little') + text + content[end:])


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds every epoch from the random seed, the number of the epoch and the worker.

    Dropout and shuffling of an epoch then do not depend on earlier epochs, so that a run
    that is killed and resumed gives the same result as an uninterrupted one. Samples
    depend on seed and epoch but not on the worker (``SeededSamples``). The data loader has
    a generator of its own, so that the model draws the same random numbers whatever the
    number of its processes.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        """Seeds Python, numpy, torch, the data loader and its samples."""
        state = np.random.SeedSequence([runner.seed, runner.epoch, rank()])
        numbers = [int(number) for number in state.generate_state(4)]
        random.seed(numbers[0])
        np.random.seed(numbers[1])
        torch.manual_seed(numbers[2])
        loader = runner.train_dataloader
        loader.generator = torch.Generator().manual_seed(numbers[3])
        begin_epoch = getattr(loader.dataset, 'begin_epoch', None)
        if begin_epoch is not None:
            begin_epoch(runner.seed, runner.epoch)


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows the progress of training and the loss; stops if the loss is NaN or infinite.

    Args:
        description: Text in front of the progress bar.
    """

    priority = 'LOW'

    def __init__(self, description: str = 'train') -> None:
        self.description = description
        self._bar: ProgressBar | None = None

    def before_train(self, runner: Runner) -> None:
        """Opens the bar."""
        self._bar = ProgressBar(self.description, runner.max_iters, quiet=rank() != 0)
        self._bar.__enter__()
        self._bar.begin_at(runner.iter)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Advances the bar by one iteration; stops if the loss is NaN or infinite.

        Raises:
            UserError: The loss is NaN or infinite.
        """
        loss = float(outputs['loss'].detach())
        if not math.isfinite(loss):
            raise UserError(
                f'{self.description}: the loss is {loss} in epoch {runner.epoch + 1}, '
                f'iteration {batch_idx + 1}: lower the learning rate (optim_wrapper.'
                'optimizer.lr) or clip gradients (optim_wrapper.clip_grad), then run again'
            )
        if self._bar is not None:
            self._bar.advance(note=f'loss {loss:.3f}')

    def after_train(self, runner: Runner) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


def worker_init(worker_id: int, **_: Any) -> None:
    """Limits a process of a data loader to one thread.

    It does not seed the process, as mmengine's default does, which would give every epoch
    the same random numbers: torch seeds the process from the state of the epoch, and
    ``SeededSamples`` seeds every sample.
    """
    torch.set_num_threads(1)
