"""Runs the stages of an experiment in order, and skips those whose result is up to date."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from mmengine.config import Config

from wsss_plugins.config import (
    check_config,
    plain,
    set_everywhere,
)
from wsss_plugins.datasets.look import Look
from wsss_plugins.engine.code_digests import CodeDigests, settled
from wsss_plugins.engine.fingerprint import DataDigests, fingerprint, without_remarks
from wsss_plugins.engine.lock import only_run
from wsss_plugins.engine.record import StageRecord, environment
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.wanted import some_of
from wsss_plugins.engine.work_dir import (
    claim,
    doing_again,
    make_room,
    refuse_failures,
)
from wsss_plugins.engine.workers import barrier, rank, world_size
from wsss_plugins.errors import ConfigError, UserError, near_names
from wsss_plugins.experiment.data_look import look_at_data, refuse_problems
from wsss_plugins.experiment.names import named_stages
from wsss_plugins.experiment.step import (
    Found,
    Step,
    examine,
    refuse_unequal_code,
)
from wsss_plugins.experiment.trial import refuse_mistakes
from wsss_plugins.progress import say
from wsss_plugins.provenance.files import renew
from wsss_plugins.provenance.images import ImageRegister
from wsss_plugins.provenance.networks import begun_network
from wsss_plugins.provenance.run import run_with_card, session_of
from wsss_plugins.registry import STAGES, build_as
from wsss_plugins.structures import PART_FILES
from wsss_plugins.structures.card import SESSION, Network, SupervisionCard
from wsss_plugins.structures.card_text import card_to_json
from wsss_plugins.structures.layout import CONFIG_FILE


class Pipeline:
    """The stages of one experiment.

    The constructor checks names and order of the stages, types and arguments of every
    plug-in, and the data sets.

    Args:
        cfg: A config with ``pipeline``, a list of stages and legs (lists of stages that
            belong together), and optionally ``datasets``, ``trainings`` and ``seed``; see
            :func:`named_stages`. Configs that state one ``experiment`` share work dirs.
        data_root: Folder that replaces every ``data_root`` of the config.
        strict: True to end with an error after a stage on which images failed.
        digests: Digests of data sets that another pipeline has computed.
        sources: Digests of code that another pipeline has computed.
        accept_code: True to keep results whose code has changed if nothing else has; the
            cards of these stages have a remark.
        redo: Names of stages to run again, and with them the stages that read them.

    Raises:
        ConfigError: A stage reads one that does not precede it, two stages have one
            name, a plug-in or an argument is unknown, or ``redo`` names no stage.
        DataError: A data set cannot be read.
        UserError: The workers have different code.
    """

    def __init__(
        self,
        cfg: Config,
        data_root: str | None = None,
        strict: bool = False,
        digests: DataDigests | None = None,
        sources: CodeDigests | None = None,
        accept_code: bool = False,
        redo: Sequence[str] = (),
    ) -> None:
        self.experiment = cfg.get('experiment') or experiment_name(Path(cfg.filename))
        self.seed = int(cfg.get('seed', 0))
        self.strict = strict
        self.accept_code = accept_code
        self.redo = tuple(redo)
        configs = named_stages(cfg)
        if data_root is not None:
            set_everywhere(configs, 'data_root', data_root)
        check_config(configs, STAGES)
        digests = DataDigests() if digests is None else digests
        sources = CodeDigests() if sources is None else sources
        self.taken_as_they_are: list[str] = []
        self.images = ImageRegister()
        self.steps: list[Step] = []
        for config in configs:
            stage = build_as(STAGES, config, Stage)
            stage.seed = self.seed if stage.depends_on_seed else 0
            made = {step.stage.name: step.fingerprint for step in self.steps}
            _check_name(stage, list(made))
            inputs = {name: made[name] for name in stage.inputs}
            data = digests.named(config, stage.needs_every_image)
            kept = plain(without_remarks(config, stage.arguments_of_speed))
            content = [kept, [digest for _, digest in data]]
            hashed = fingerprint(content, stage.seed, inputs)
            code = sources(config, type(stage))
            files = digests.contents(config, stage)
            self.steps.append(
                Step(stage, config, hashed, inputs, code, kept, data, files)
            )
        refuse_unequal_code(self.steps)
        for name in self.redo:
            if name not in self.names:
                raise ConfigError(
                    f"--redo: no stage '{name}': {near_names(name, self.names)}"
                )

    @property
    def names(self) -> list[str]:
        """Names of the stages, in order."""
        return [step.stage.name for step in self.steps]

    def select(self, start: str | None = None, stop: str | None = None) -> list[Step]:
        """The steps from ``start`` to ``stop``, including both.

        Raises:
            ConfigError: ``start`` or ``stop`` names no stage, or ``stop`` comes before
                ``start``.
        """
        for name in (start, stop):
            if name is not None and name not in self.names:
                raise ConfigError(f"no stage '{name}': {near_names(name, self.names)}")
        first = self.names.index(start) if start else 0
        last = self.names.index(stop) if stop else len(self.steps) - 1
        if last < first:
            raise ConfigError(f"stage '{stop}' comes before '{start}'")
        return self.steps[first : last + 1]

    def state(self, step: Step, work_dir: Path) -> str:
        """State of a step in a work dir: 'done', 'interrupted', 'changed' or 'new'."""
        return self._found(step, work_dir).state

    def examine(self, work_dir: Path) -> dict[str, Found]:
        """The state of each step in a work dir, and what has changed, by name."""
        return examine(self.steps, work_dir, self.redo, self.accept_code)

    def refuse_mistakes(self, steps: Sequence[Step], work_dir: Path) -> None:
        """Checks the steps that are not done, before any of them runs.

        Trainings are built, and seed heads are called on two images with random weights.

        Raises:
            UserError: A training cannot be built, a seed head refuses its model or fails,
                or a file of weights does not exist.
        """
        left = [s.stage for s in steps if self.state(s, work_dir) != 'done']
        refuse_mistakes(left)

    def look(
        self, steps: Sequence[Step], work_dir: Path, everything: bool = False
    ) -> list[Look]:
        """Looks at the data of the steps that are not done.

        Args:
            steps: Those that are to run.
            work_dir: Folder of the experiment.
            everything: Whether to decode all photos and masks, not a sample of them.

        Raises:
            DataError: A data set cannot be made.
        """
        left = [s.config for s in steps if self.state(s, work_dir) != 'done']
        return look_at_data(left, everything)

    def run(
        self,
        work_dir: Path | str,
        start: str | None = None,
        stop: str | None = None,
        everything: bool = False,
        tell: Callable[[Sequence[Look]], None] = lambda looks: None,
    ) -> dict[str, StageRecord]:
        """Runs the stages that are not done yet, after a look at the data.

        Args:
            work_dir: Folder of the experiment, with a folder for each stage.
            start: Name of the first stage to run; earlier stages must be done.
            stop: Name of the last stage to run.
            everything: Whether the look decodes all photos and masks.
            tell: Called with what the look found, before any stage runs.

        Returns:
            The record of every stage that is done, by name.

        Raises:
            DataError: The look found what makes a stage fail.
            UserError: ``work_dir`` belongs to another experiment, a stage before
                ``start`` is not done, a training cannot be built, a seed head refuses its
                model, or images failed and the pipeline is strict.
        """
        work_dir = Path(work_dir)
        selected = self.select(start, stop)
        with only_run(work_dir, [step.stage.name for step in selected]):
            claim(work_dir, self.experiment)
            self._refuse_start(selected, work_dir)
            looks = self.look(selected, work_dir, everything)
            tell(looks)
            refuse_problems(looks)
            self.refuse_mistakes(selected, work_dir)
            with doing_again(work_dir, self.redo):
                self.run_steps(selected, work_dir)
        self.redo = ()
        self._say_what_is_taken()
        records = [StageRecord.load(work_dir / name) for name in self.names]
        return {r.stage: r for r in records if r is not None and r.done}

    def _say_what_is_taken(self) -> None:
        """Prints once which kept results have no record of the files they were made from."""
        stages, self.taken_as_they_are = self.taken_as_they_are, []
        if stages and rank() == 0:
            say(
                'data: an earlier version made the results of '
                f'{some_of(stages)} and did not note what the files held: they are taken as '
                'made from the files of today, and a later change is seen'
            )

    def run_steps(self, selected: Sequence[Step], work_dir: Path) -> None:
        """Runs those of the given steps that are not done; see :meth:`run`."""
        networks = self._networks()
        for step in selected:
            out = work_dir / step.stage.name
            found = self._found(step, work_dir)
            if rank() == 0 and found.record is None:
                make_room(out, found.wanted, restore=not found.again)
            barrier()
            found = self._found(step, work_dir)
            if found.state != 'done':
                self._run(step, found, work_dir)
            elif rank() == 0:
                self._renew(step, found, work_dir, networks)
            if self.strict:
                refuse_failures(out)

    def _found(self, step: Step, work_dir: Path) -> Found:
        """The state of one step in a work dir."""
        needed = {step.stage.name}
        for each in reversed(self.steps):
            if each.stage.name in needed:
                needed.update(each.stage.inputs)
        steps = [each for each in self.steps if each.stage.name in needed]
        found = examine(steps, work_dir, self.redo, self.accept_code)
        return found[step.stage.name]

    def _refuse_start(self, selected: Sequence[Step], work_dir: Path) -> None:
        """Refuses ``--start`` after a stage that is not done, and ``--redo`` of others.

        Raises:
            UserError: A stage before the first selected one is not done, or a stage of
                ``--redo`` is not selected.
        """
        names = [step.stage.name for step in selected]
        for name in self.redo:
            if name not in names:
                raise UserError(
                    f"--redo {name}: the stages that run are '{names[0]}' to "
                    f"'{names[-1]}': leave out --start or --stop"
                )
        found = self.examine(work_dir)
        for step in self.steps[: self.steps.index(selected[0])]:
            name = step.stage.name
            if found[name].state != 'done':
                raise UserError(
                    f"--start {names[0]}: the earlier stage '{name}' is "
                    f'{found[name].state}; start there'
                )

    def _networks(self) -> dict[str, Network]:
        """Card entries of the networks that the config trains, by stage."""
        return {
            step.stage.name: begun_network(step.stage.name, step.config['config'])[0]
            for step in self.steps
            if isinstance(step.config.get('config'), Mapping)
        }

    def _renew(
        self,
        step: Step,
        found: Found,
        work_dir: Path,
        networks: Mapping[str, Network],
    ) -> None:
        """Records the present code of a stage whose result is kept, and updates its card."""
        out = work_dir / step.stage.name
        record, code = StageRecord.load(out), dict(step.code)
        if record is None:
            return
        known = None if record.code is None else settled(record.code)
        accepted = None if known == code else code
        if accepted != record.accepted:
            record.accepted = accepted
            record.save(out)
        if not (out / CONFIG_FILE).is_file():
            found.wanted.keep_copy(out)
        self._note_data(record, found, out)
        inputs = [work_dir / name for name in step.stage.inputs]
        renew(out, inputs, self.names, networks)

    def _note_data(self, record: StageRecord, found: Found, out: Path) -> None:
        """Records the present files for a kept result whose record names none."""
        if record.data is not None:
            return
        record.data, record.data_noted = found.wanted.digests, True
        record.save(out)
        if found.wanted.digests:
            found.wanted.keep_contents(out.parent)
            self.taken_as_they_are.append(record.stage)

    def _run(self, step: Step, found: Found, work_dir: Path) -> None:
        stage = step.stage
        out = work_dir / stage.name
        record = found.begin(stage, environment(world_size()))
        session = _session(record, StageRecord.load(out))
        barrier()
        if rank() == 0:
            for part in out.rglob(PART_FILES):
                part.unlink()  # incomplete files of a run that was killed
            record.save(out)
            found.wanted.keep_copy(out)
        begin = time.monotonic()
        folders = {name: work_dir / name for name in stage.inputs}
        record.metrics, card = run_with_card(
            stage,
            out,
            folders,
            config=step.config,
            images=self.images,
            session=session,
        )
        record.provenance = plain(stage.provenance())
        record.seconds = round(time.monotonic() - begin, 2)
        record.finished = datetime.now().isoformat(timespec='milliseconds')
        record.card = None if card is None else card_to_json(card)
        # A strict run that is repeated tries the failed images again.
        record.done = not (self.strict and record.metrics.get('failed'))
        if rank() == 0:
            record.save(out)
            renew(out, list(folders.values()), self.names, {})
        barrier()


def _session(record: StageRecord, earlier: StageRecord | None) -> SupervisionCard:
    """A card with the machines of this run, and of earlier runs that were interrupted.

    It is stored in ``record``, so that it is known if this run is interrupted too.
    """
    session = session_of(record.environment, record.seed)
    if earlier is not None and earlier.supervision is not None:
        session = session.joined([earlier.supervision.only(SESSION)])
    record.card = card_to_json(session)
    return session


def _check_name(stage: Stage, earlier: Sequence[str]) -> None:
    if stage.name in earlier:
        raise ConfigError(f"two stages are named '{stage.name}'", token=stage.name)
    for name in stage.inputs:
        if name not in earlier:
            raise ConfigError(
                f"stage '{stage.name}' reads '{name}', which is no earlier stage: "
                f'{near_names(name, earlier)}',
                token=name,
            )


def experiment_name(config: Path) -> str:
    """Name of the experiment of a config: the folder and the file without its suffix.

    For example, ``configs/acr/synthetic_pipeline.py`` has ``acr/synthetic_pipeline``.
    """
    return f'{config.resolve().parent.name}/{config.stem}'
