"""Runs a grid as one pipeline for each random seed."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from wsss_plugins.datasets.look import Look
from wsss_plugins.engine.code_digests import CodeDigests
from wsss_plugins.engine.fingerprint import DataDigests
from wsss_plugins.engine.lock import only_run
from wsss_plugins.engine.record import StageRecord
from wsss_plugins.engine.work_dir import claim, doing_again
from wsss_plugins.engine.workers import barrier, rank, world_size
from wsss_plugins.errors import ConfigError, UserError, near_names
from wsss_plugins.experiment.data_look import look_at_data
from wsss_plugins.experiment.matrix.plan import Plan
from wsss_plugins.experiment.matrix.results import REMEDY, Table
from wsss_plugins.experiment.matrix.wanted import Matrix
from wsss_plugins.experiment.pipeline import Pipeline, experiment_name
from wsss_plugins.experiment.step import Found, Step
from wsss_plugins.experiment.trial import refusals
from wsss_plugins.provenance.images import ImageRegister
from wsss_plugins.provenance.run import declared_card
from wsss_plugins.report.comparison import refuse_unlike
from wsss_plugins.report.rows import Row
from wsss_plugins.stages.explanations.explanation import ExplanationStage
from wsss_plugins.stages.train import TrainStage
from wsss_plugins.structures import atomic_path

ERRORS = '.errors'
"""Name of the folder of tracebacks, in the folder of a random seed."""


class MatrixRun:
    """Runs the stages of a grid that are not done.

    Each random seed is an ordinary pipeline in a folder ``seed_N``: its stages are
    skipped, run again and resumed like those of any pipeline. If a stage fails, only the
    stages that read it are left out.

    Args:
        matrix: The grid.
        filename: Path of the grid's config; paths of training configs are relative to it.
        work_dir: Folder in which the folders of the random seeds are made.
        data_root: Folder that replaces every ``data_root`` of the configs.
        strict: True to count a stage as failed if it left images out.
        say: Function that is called with each line on the progress.
        accept_code: True to keep results whose code has changed, see :class:`Pipeline`.
        redo: Names of stages to run again for every random seed.

    Attributes:
        plan: The stages of the grid.
        refused: Why a stage of maps was left out, by name.
        failed: Why a stage failed, by random seed and name.

    Raises:
        UserError: A config is wrong, a data set cannot be read, or a training cannot be
            built.
    """

    def __init__(
        self,
        matrix: Matrix,
        filename: str,
        work_dir: Path | str,
        data_root: str | None = None,
        strict: bool = False,
        say: Callable[[str], None] = lambda line: None,
        accept_code: bool = False,
        redo: Sequence[str] = (),
    ) -> None:
        self.plan = Plan(matrix)
        self.filename, self.work_dir = filename, Path(work_dir)
        self.data_root, self.strict, self.say = data_root, strict, say
        self.seeds = list(matrix.seeds)
        self._digests = DataDigests()  # data sets are read once for all random seeds
        self._sources = CodeDigests()
        self.accept_code, self.redo = accept_code, list(redo)
        whole = self._pipeline(self.seeds[0], ())
        assert whole is not None
        # Tests of faithfulness have the seed heads of the maps: one trial is enough.
        self.refused = refusals(
            step.stage
            for step in whole.steps
            if not isinstance(step.stage, ExplanationStage)
        )
        self._refuse_redo(whole)
        self.failed: dict[int, dict[str, str]] = {seed: {} for seed in self.seeds}
        self._pipelines = {s: self._pipeline(s, self.refused) for s in self.seeds}

    def refuse_unlike(self) -> None:
        """Refuses classifiers whose results cannot be compared, before any stage runs.

        Raises:
            UserError: The initial weights or the training data of a classifier differ
                from most others; the message names the first and why.
        """
        pipeline = self._pipelines[self.seeds[0]]
        stages = [step.stage for step in pipeline.steps] if pipeline else []
        networks = set(self.plan.networks.values())
        begun = [s for s in stages if s.name in networks and isinstance(s, TrainStage)]
        images = pipeline.images if pipeline else ImageRegister()
        rows = [Row(s.name, {}, declared_card(s, images)) for s in begun]
        refuse_unlike(rows, REMEDY)

    def folder(self, seed: int) -> Path:
        """Folder of the stages of a random seed."""
        return self.work_dir / f'seed_{seed}'

    def states(self, seed: int) -> dict[str, str]:
        """State of every stage that was not refused, see :meth:`Pipeline.state`."""
        return {name: found.state for name, found in self.examine(seed).items()}

    def examine(self, seed: int) -> dict[str, Found]:
        """State and changes of every stage that was not refused, by name."""
        pipeline = self._pipelines[seed]
        return pipeline.examine(self.folder(seed)) if pipeline else {}

    def look(self, everything: bool = False) -> list[Look]:
        """Looks at the data of the stages that are not done, of all random seeds.

        Args:
            everything: Whether to decode all photos and masks, not a sample of them.

        Raises:
            DataError: A data set cannot be made.
        """
        left = []
        for seed in self.seeds:
            states, whole = self.states(seed), self._pipelines[seed]
            steps = whole.steps if whole else ()
            left += [s.config for s in steps if states.get(s.stage.name) != 'done']
        return look_at_data(left, everything)

    def run(self, seed: int) -> None:
        """Runs the stages of a random seed that are not done.

        With several workers the first error ends the run, since the other workers wait.

        Raises:
            UserError: The work dir belongs to another experiment.
        """
        claim(self.work_dir, experiment_name(Path(self.filename)))
        failed = self.failed[seed]
        failed.clear()
        whole = self._pipelines[seed]
        if whole is None:
            return
        left: Pipeline | None = whole
        with only_run(self.folder(seed), whole.names):
            claim(self.folder(seed), whole.experiment)
            with doing_again(self.folder(seed), whole.redo):
                while left is not None and self._run(left, seed) is not None:
                    left = self._pipeline(seed, {*self.refused, *failed})
        whole.redo = ()

    def table(self) -> Table:
        """Makes the table of the numbers that are done."""
        records = {}
        for seed in self.seeds:
            states, folder = self.states(seed), self.folder(seed)
            done = [name for name, state in states.items() if state == 'done']
            found = {name: StageRecord.load(folder / name) for name in done}
            records[seed] = {name: r for name, r in found.items() if r is not None}
        return Table(self.plan, records, self.refused, self.failed)

    def _pipeline(self, seed: int, without: Collection[str]) -> Pipeline | None:
        """The pipeline without some stages; None if no stage is left."""
        cfg = self.plan.config(self.filename, seed, without)
        if not cfg.pipeline:
            return None
        names = [stage['name'] for stage in cfg.pipeline]
        return Pipeline(
            cfg,
            data_root=self.data_root,
            strict=self.strict,
            digests=self._digests,
            sources=self._sources,
            accept_code=self.accept_code,
            redo=[name for name in self.redo if name in names],
        )

    def _refuse_redo(self, whole: Pipeline) -> None:
        """Refuses names of ``--redo`` that are no stages, or stages that were refused.

        Raises:
            ConfigError: A name is no stage of the grid that can run; the message lists
                similar names.
        """
        names = [name for name in whole.names if name not in self.refused]
        for name in self.redo:
            if name not in names:
                raise ConfigError(
                    f"--redo: no stage '{name}': {near_names(name, names)}"
                )

    def _run(self, pipeline: Pipeline, seed: int) -> str | None:
        """Runs the stages in order; returns the name of the first that failed, or None."""
        folder = self.folder(seed)
        for i, step in enumerate(pipeline.steps, 1):
            name = step.stage.name
            if pipeline.state(step, folder) != 'done':
                self.say(f'seed {seed}, stage {i} of {len(pipeline.steps)}: {name}')
            barrier()
            try:
                pipeline.refuse_mistakes([step], folder)
                pipeline.run_steps([step], folder)
            except Exception as error:
                if world_size() > 1 or _ends_all(error):
                    raise
                self.failed[seed][name] = self._reason(error, step, folder)
                self.say(f'seed {seed}: {name} failed: {self.failed[seed][name]}')
                return name
            if rank() == 0:
                _trace_path(folder, step).unlink(missing_ok=True)
        return None

    def _reason(self, error: Exception, step: Step, folder: Path) -> str:
        """Text of an error in one line; the traceback of an unexpected one is written."""
        text = ' '.join(str(error).split())
        if isinstance(error, UserError):
            return text
        path = _trace_path(folder, step)
        with atomic_path(path) as part:
            part.write_text(''.join(traceback.format_exception(error)), 'utf-8')
        return f'{type(error).__name__}: {text[:200]} ({path})'


def _trace_path(folder: Path, step: Step) -> Path:
    return folder / ERRORS / f'{step.stage.name}.txt'


def _ends_all(error: BaseException) -> bool:
    """Whether an error would occur in every stage, since the disk is full."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return True
        cause = cause.__cause__
    return False
