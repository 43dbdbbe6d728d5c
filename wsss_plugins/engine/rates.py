"""The learning rate of every parameter over a training: as a table, and from any epoch on."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.runner import Runner
from torch import nn

from wsss_plugins.engine.workers import rank
from wsss_plugins.registry import HOOKS
from wsss_plugins.structures import atomic_path

RATES_FILE, RATES_PLOT = 'rates.csv', 'rates.png'
MOST_ROWS = 1000
INITIAL = 'initial_'


def advance(
    schedules: Sequence[_ParamScheduler], epochs: int, epoch_length: int
) -> Iterator[int]:
    """Moves schedules from the start of a training; yields each iteration before its end.

    Schedules by iteration step after each iteration, those by epoch after each epoch, as
    mmengine's ``ParamSchedulerHook`` does. One that waits for a validation is not moved.

    Args:
        schedules: Schedules that were just built.
        epochs: Number of epochs.
        epoch_length: Number of iterations of an epoch.

    Yields:
        Numbers of iterations from 0 on; the optimiser then has the rates of that one.
    """
    moved = [s for s in schedules if not getattr(s, 'need_val_args', False)]
    for schedule in moved:
        schedule.optimizer._global_step = 0  # else mmengine warns of missing steps
    for epoch in range(epochs):
        for index in range(epoch_length):
            yield epoch * epoch_length + index
            for schedule in moved:
                if not schedule.by_epoch:
                    schedule.step()
        for schedule in moved:
            if schedule.by_epoch:
                schedule.step()


def rewind(schedules: Iterable[_ParamScheduler]) -> None:
    """Gives their optimiser the values that it had before any schedule."""
    for schedule in schedules:
        name = schedule.param_name
        for group in schedule.optimizer.param_groups:
            group[name] = group.pop(INITIAL + name, group[name])


class _Rates(torch.optim.Optimizer):
    """Groups of an optimiser without their parameters, of which nothing is learnt."""

    def __init__(
        self, groups: Iterable[Mapping[str, Any]], defaults: Mapping[str, Any]
    ) -> None:
        bare = []
        for group in groups:
            copied = {k: v for k, v in group.items() if k != 'params'}
            for key in [k for k in copied if k.startswith(INITIAL)]:
                copied[key.removeprefix(INITIAL)] = copied.pop(key)
            bare.append(dict(copied, params=[nn.Parameter(torch.zeros(()))]))
        super().__init__(bare, dict(defaults))

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Does nothing."""


def rates(
    groups: Sequence[Mapping[str, Any]],
    defaults: Mapping[str, Any],
    given: Any,
    runner: Any,
) -> tuple[list[int], np.ndarray]:
    """The rate of each group of an optimiser over the training of a Runner.

    Args:
        groups: The groups.
        defaults: Default values of the optimiser, which schedules of momentum read.
        given: ``param_scheduler`` for this optimiser, or None.
        runner: A ``WSSSRunner`` that is about to train.

    Returns:
        Numbers of iterations, at most ``MOST_ROWS`` of them, the first and the last among
        them, and the rates there, with shape (iterations, groups).
    """
    optimizer = _Rates(groups, defaults)
    schedules = [] if given is None else runner.schedules_for(given, optimizer)
    total, epoch_length = runner.max_iters, len(runner.train_dataloader)
    wanted = set(np.linspace(0, total - 1, min(total, MOST_ROWS)).round().astype(int))
    at, values = [], []
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of steps of an optimiser that learns nothing
        for step in advance(schedules, runner.max_epochs, epoch_length):
            if step in wanted:
                at.append(step)
                values.append([float(g['lr']) for g in optimizer.param_groups])
    return at, np.array(values).reshape(len(at), len(groups))


def names_of_groups(model: nn.Module, groups: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is in each group: whole parts of the model by their names, and parameters.

    Args:
        model: The model.
        groups: Groups of an optimiser of its parameters, or several of them as one.

    Returns:
        A name for each group, such as ``'backbone'`` or ``'head.weight head.bias'``.
        Parameters that are in no group, such as frozen ones, do not count.
    """
    owner = {id(p): i for i, group in enumerate(groups) for p in group['params']}
    owners: dict[str, int] = {
        name: owner[id(p)] for name, p in model.named_parameters() if id(p) in owner
    }
    below: dict[str, set[int]] = {}
    for name, index in owners.items():
        for prefix in _prefixes(name):
            below.setdefault(prefix, set()).add(index)
    found: dict[int, list[str]] = {index: [] for index in owner.values()}
    for name, index in owners.items():
        whole = next((p for p in _prefixes(name) if len(below[p]) == 1), name)
        if (whole or 'all') not in found[index]:
            found[index].append(whole or 'all')
    return [' '.join(found[index]) for index in sorted(found)]


def _prefixes(name: str) -> list[str]:
    """``['', 'head', 'head.fc', 'head.fc.weight']`` of ``head.fc.weight``."""
    parts = name.split('.')
    return ['.'.join(parts[:n]) for n in range(len(parts) + 1)]


def _joined(
    groups: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """One group for all that have the same rate and the same factors of schedules."""
    joined: dict[str, dict[str, Any]] = {}
    for group in groups:
        said = {k: v for k, v in group.items() if k == 'lr' or k.startswith(INITIAL)}
        key = repr(sorted(said.items()))
        if key in joined:
            joined[key]['params'] = [*joined[key]['params'], *group['params']]
        else:
            joined[key] = dict(group)
    return list(joined.values())


def table_of_rates(runner: Any) -> tuple[list[str], list[int], np.ndarray]:
    """Names of the groups with rates of their own, iterations, and the rates there.

    Args:
        runner: A ``WSSSRunner`` that is about to train.
    """
    wrapper, given = runner.optim_wrapper, runner.given_schedules
    parts = (
        wrapper.items() if isinstance(wrapper, OptimWrapperDict) else [('', wrapper)]
    )
    names: list[str] = []
    columns: list[np.ndarray] = []
    at: list[int] = []
    for part, optimizer in parts:
        own = given
        if part and isinstance(given, Mapping) and 'type' not in given:
            own = given.get(part)
        groups = _joined(optimizer.param_groups)
        at, values = rates(groups, optimizer.defaults, own, runner)
        for name in names_of_groups(runner.bare_model, groups):
            names.append(f'{part}: {name}' if part else name)
        columns.append(values)
    return names, at, np.concatenate(columns, 1)


@HOOKS.register_module()
class RatesHook(Hook):
    """Writes the learning rates of the whole training to the log folder before it begins.

    ``rates.csv`` has a row for each iteration (1,000 rows at most) and a column for all
    parameters that have the same rate; ``rates.png`` draws it.
    """

    priority = 'LOW'

    def before_train(self, runner: Runner) -> None:
        """Writes the table and the plot; the first worker does so."""
        if rank() != 0:
            return
        names, at, values = table_of_rates(runner)
        epoch_length = len(runner.train_dataloader)
        folder = Path(runner.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        with (
            atomic_path(folder / RATES_FILE) as part,
            part.open('w', newline='') as file,
        ):
            writer = csv.writer(file)
            writer.writerow(['epoch', 'iteration', *names])
            for step, row in zip(at, values, strict=True):
                numbers = [f'{value:.6g}' for value in row]
                writer.writerow([f'{step / epoch_length:.4f}', step, *numbers])
        _draw(folder / RATES_PLOT, [s / epoch_length for s in at], names, values)


def _draw(
    path: Path, epochs: Sequence[float], names: Sequence[str], values: np.ndarray
) -> None:
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(6, 3.5), layout='constrained')
    axes = figure.subplots()
    for name, column in zip(names, values.T, strict=True):
        axes.plot(epochs, column, label=name if len(name) < 40 else f'{name[:36]} ...')
    axes.set(xlabel='epoch', ylabel='learning rate', ylim=(0, None))
    axes.legend(fontsize=7)
    with atomic_path(path) as part:
        figure.savefig(part, format='png', dpi=110)
