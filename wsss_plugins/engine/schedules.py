"""Schedules of the learning rate: counted in the steps of a training, and checked with it.

Lengths in ``param_scheduler`` are shares of the training where they are floats, see
:mod:`wsss_plugins.shares`; they become numbers here, once the training's length is known.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from mmengine.optim.scheduler.param_scheduler import (
    CosineAnnealingParamScheduler,
    CosineRestartParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    OneCycleParamScheduler,
    PolyParamScheduler,
    StepParamScheduler,
)

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import PARAM_SCHEDULERS
from wsss_plugins.shares import (
    AS_WRITTEN,
    LENGTHS,
    is_share,
    replaced,
    schedules_of,
)

SPAN_OF = {
    CosineAnnealingParamScheduler: 'T_max',
    CosineRestartParamScheduler: 'periods',
    MultiStepParamScheduler: 'milestones',
    OneCycleParamScheduler: 'total_steps',
    StepParamScheduler: 'step_size',
}
"""The argument of a schedule that says how many steps it takes, or the steps it takes."""


@dataclass(frozen=True)
class Length:
    """Length of a training.

    Attributes:
        epochs: Number of epochs.
        epoch_length: Number of iterations of an epoch.
    """

    epochs: int
    epoch_length: int

    def total(self, schedule: MutableMapping[str, Any]) -> int:
        """The length in the steps of a schedule, which are epochs or iterations."""
        by_epoch = schedule.get('by_epoch', True)
        return self.epochs if by_epoch else self.epochs * self.epoch_length

    def __str__(self) -> str:
        """The length as an error names it."""
        return f'max_epochs={self.epochs}'


def counted(given: Any, length: Length) -> Any:
    """Replaces the shares in schedules by numbers of steps.

    A schedule with ``convert_to_iter_based`` whose shares are not whole epochs is counted
    in iterations. One that steps at the end of an epoch gets whole epochs, rounded up.

    Args:
        given: ``param_scheduler`` of a training config; it is not changed.
        length: Length of the training.

    Returns:
        The same without shares.
    """
    given = copy.deepcopy(given)
    for schedule in schedules_of(given):
        if any(_has_share(schedule.get(key)) for key in LENGTHS):
            _count(schedule, length)
    return given


def _has_share(value: Any) -> bool:
    return any(map(is_share, value if isinstance(value, list | tuple) else [value]))


def _count(schedule: MutableMapping[str, Any], length: Length) -> None:
    """Replaces the shares in one schedule."""
    scale = 1
    if schedule.get('by_epoch', True) and schedule.pop('convert_to_iter_based', False):
        schedule['by_epoch'], scale = False, length.epoch_length
    total = length.total(schedule)
    whole = math.ceil if schedule.get('by_epoch', True) else round

    def _steps(value: float) -> float:
        return value * total if is_share(value) else value * scale

    def _at(position: float) -> int:
        return int(whole(round(position, 6)))

    start = _steps(schedule.get('begin', 0))

    def _since(value: float) -> int:
        return max(_at(start + _steps(value)) - _at(start), 1)

    for key in set(LENGTHS) & set(schedule):
        value = schedule[key]
        if value is None:
            continue
        if key == 'begin':
            schedule[key] = _at(start)
        elif key == 'end':  # at least one step, in the shortest training too
            schedule[key] = max(_at(_steps(value)), _at(start) + 1)
        elif key == 'periods':
            ends = [0, *(_since(end) for end in accumulate(value))]
            schedule[key] = [after - before for before, after in pairwise(ends)]
        else:
            schedule[key] = replaced(value, _since)


def without_single_steps(given: Any, length: Length) -> tuple[Any, list[str]]:
    """Leaves out straight lines over a single iteration.

    mmengine gives the first iteration of a ``LinearLR`` its first factor and takes the
    factor back in the iterations that follow. A warm-up of one iteration, as in a very
    short training, would keep the rate at that factor for good.

    Args:
        given: ``param_scheduler`` without shares.
        length: Length of the training.

    Returns:
        The schedules that are kept, and a sentence on each that is not.
    """
    if isinstance(given, MutableMapping) and 'type' not in given:
        kept = {k: without_single_steps(v, length) for k, v in given.items()}
        return {k: v[0] for k, v in kept.items()}, [
            n for v in kept.values() for n in v[1]
        ]
    notes, left = [], []
    for schedule in given if isinstance(given, list | tuple) else [given]:
        if isinstance(schedule, MutableMapping) and _is_single_step(schedule, length):
            notes.append(
                f'{_kind(schedule).__name__} is left out: it lasts one iteration of the '
                f'{length.epochs * length.epoch_length} of this training'
            )
        else:
            left.append(schedule)
    return left, notes


def _is_single_step(schedule: MutableMapping[str, Any], length: Length) -> bool:
    if not issubclass(_kind(schedule), LinearParamScheduler):
        return False
    steps = _end(schedule, length) - schedule.get('begin', 0)
    if schedule.get('by_epoch', True):
        turned = schedule.get('convert_to_iter_based', False)
        return turned and steps * length.epoch_length == 1
    return steps == 1


def refuse_misfits(given: Any, length: Length) -> None:
    """Refuses schedules that were made for another length of the training.

    Args:
        given: ``param_scheduler`` without shares.
        length: Length of the training.

    Raises:
        ConfigError: A schedule begins or ends after the training, climbs again because
            it is over before the training, or does not reach its end.
    """
    every = list(schedules_of(given))
    for schedule in every:
        others = [other for other in every if other is not schedule]
        for fault in _faults(schedule, others, length):
            kind = _kind(schedule)
            raise ConfigError(
                f'param_scheduler does not fit train_cfg ({length}): {kind.__name__} '
                f'{fault}; give its lengths as shares of the training (end=1.0), move them '
                f'with max_epochs, or say that it is meant: {AS_WRITTEN}=True',
                token='param_scheduler',
            )


def _kind(schedule: MutableMapping[str, Any]) -> type:
    kind = schedule['type']
    found = PARAM_SCHEDULERS.get(kind) if isinstance(kind, str) else kind
    return found if isinstance(found, type) else object


def _faults(
    schedule: MutableMapping[str, Any],
    others: list[MutableMapping[str, Any]],
    length: Length,
) -> Iterator[str]:
    """What does not fit of one schedule, in words."""
    kind = _kind(schedule)
    unit = 'epochs' if schedule.get('by_epoch', True) else 'iterations'
    total, begin = length.total(schedule), schedule.get('begin', 0)
    end = _end(schedule, length)
    if begin >= end:
        return  # mmengine says so
    if begin >= total:
        yield f'would begin after {begin} of {total} {unit}'
    elif end > total:
        yield f'ends after {end} {unit}, and the training after {total}'
    elif (
        _falls(kind, schedule)
        and end < total
        and not any(other.get('begin', 0) >= end for other in others)
    ):
        yield (
            f'ends after {end} of {total} {unit}, and the rate stays at its lowest from '
            'there on'
        )
    if issubclass(kind, LinearParamScheduler) and _is_one_epoch(schedule, end - begin):
        yield (
            'lasts one epoch and changes once an epoch, so that the rate stays at its '
            'first factor: add convert_to_iter_based=True'
        )
    yield from _faults_of_span(kind, schedule, end - begin, unit)


def _faults_of_span(
    kind: type, schedule: MutableMapping[str, Any], room: int, unit: str
) -> Iterator[str]:
    """What does not fit of the argument that says how long a schedule takes."""
    for base, key in SPAN_OF.items():
        value = schedule.get(key)
        if not issubclass(kind, base) or not value:
            continue
        if isinstance(value, list | tuple):
            value = max(value) if key == 'milestones' else sum(value)
        if issubclass(kind, StepParamScheduler | MultiStepParamScheduler):
            if value >= room:
                yield f'has {key}={schedule[key]} and lasts {room} {unit} only'
        elif value > room:
            yield f'has {key}={schedule[key]} and is cut off after {room} {unit}'
        elif value < room:
            climbs = issubclass(kind, CosineAnnealingParamScheduler)
            then = 'the rate then climbs again' if climbs else 'has no value after that'
            yield f'has {key}={schedule[key]} in {room} {unit}, and {then}'


def _is_one_epoch(schedule: MutableMapping[str, Any], steps: int) -> bool:
    turned = schedule.get('convert_to_iter_based', False)
    return steps == 1 and schedule.get('by_epoch', True) and not turned


def _end(schedule: MutableMapping[str, Any], length: Length) -> int:
    """The step that a schedule ends with, by default the last of the training."""
    end = schedule.get('end')
    return length.total(schedule) if end is None else end


def _falls(kind: type, schedule: MutableMapping[str, Any]) -> bool:
    if issubclass(kind, LinearParamScheduler):
        first = schedule.get('start_factor', 1 / 3)
        return bool(schedule.get('end_factor', 1.0) < first)
    return issubclass(kind, PolyParamScheduler | CosineAnnealingParamScheduler)
