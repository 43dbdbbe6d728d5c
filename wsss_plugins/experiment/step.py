"""The steps of a pipeline, and their states in a work dir."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_plugins.engine.code_digests import settled
from wsss_plugins.engine.contents import Content
from wsss_plugins.engine.record import StageRecord
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.wanted import Wanted
from wsss_plugins.engine.work_dir import asked_again
from wsss_plugins.engine.workers import gather
from wsss_plugins.errors import UserError


@dataclass(frozen=True)
class Step:
    """A stage, its config, and all that its result depends on.

    Attributes:
        stage: The stage.
        config: Config of the stage.
        fingerprint: Hash of the config, the seed, the data and the inputs.
        inputs: Fingerprint of each stage that is read, by name.
        code: Digests of the code, see
            :class:`~wsss_plugins.engine.code_digests.CodeDigests`.
        plain_config: The config as plain values, without keys that change no result.
        data: Name and digest of each data set.
        contents: Files that the stage reads from outside of the work dir, by kind of file.
    """

    stage: Stage
    config: dict[str, Any]
    fingerprint: str
    inputs: Mapping[str, str]
    code: Mapping[str, str]
    plain_config: Any
    data: tuple[tuple[str, str], ...]
    contents: Mapping[str, Content] = field(default_factory=dict)

    def wanted(self, reads: Mapping[str, str]) -> Wanted:
        """All that the result depends on.

        Args:
            reads: Name of the result of each stage that is read, by name of the stage.
        """
        return Wanted(
            fingerprint=self.fingerprint,
            seed=self.stage.seed,
            inputs=self.inputs,
            reads=reads,
            code=self.code,
            config=self.plain_config,
            data=self.data,
            contents=self.contents,
        )


@dataclass(frozen=True)
class Found:
    """The state of a step in a work dir.

    Attributes:
        state: 'new', 'done', 'interrupted' or 'changed'.
        why: Texts that name what has changed; empty in the other states.
        wanted: All that the present result depends on.
        result: Name of the existing result if it is kept, otherwise of the new one.
        redone: How often the stage was run again with ``--redo``, this run included.
        again: True if ``--redo`` requires a run, so that no earlier result is restored.
        record: Record of the existing result if it is kept; None if the stage runs from
            the start.
    """

    state: str
    why: tuple[str, ...]
    wanted: Wanted
    result: str
    redone: int
    again: bool
    record: StageRecord | None

    def begin(self, stage: Stage, environment: dict[str, Any]) -> StageRecord:
        """Makes the record of a stage that starts or continues."""
        code: dict[str, str] | None = dict(self.wanted.code)
        accepted, reads = None, dict(self.wanted.reads)
        if self.record is not None:
            begun = self.record.code
            if begun is None or settled(begun) != code:
                code, accepted = begun, code
        return StageRecord(
            stage=stage.name,
            kind=type(stage).__name__,
            fingerprint=self.wanted.fingerprint,
            inputs=dict(self.wanted.inputs),
            seed=stage.seed,
            environment=environment,
            code=code,
            accepted=accepted,
            result=self.result,
            reads=reads,
            redone=self.redone,
            data=self.wanted.digests,
            data_noted=self.record is not None
            and (self.record.data is None or self.record.data_noted),
        )


def examine(
    steps: Sequence[Step],
    work_dir: Path,
    redo: Collection[str] = (),
    any_code: bool = False,
) -> dict[str, Found]:
    """Determines the state of some steps in a work dir.

    Args:
        steps: The steps in order, together with all steps that they read.
        work_dir: Folder of the experiment.
        redo: Names of the stages of ``--redo``.
        any_code: True to keep results whose code has changed if nothing else has.

    Returns:
        The state of each step, by name.
    """
    asked = asked_again(work_dir)
    found: dict[str, Found] = {}
    for step in steps:
        name = step.stage.name
        reads = {source: found[source].result for source in step.stage.inputs}
        wanted, folder = step.wanted(reads), work_dir / name
        record = StageRecord.load(folder)
        number = asked.get(name)
        if number is None and name in redo and record is not None:
            number = record.redone + record.done  # an interrupted run continues
        due = number is not None and (record is None or record.redone < number)
        why: list[str] = []
        if record is None:
            state = 'new'
        elif not wanted.is_met_by(record, any_code):
            state, why = 'changed', wanted.against(record, folder)
        elif due:
            state, why = 'changed', ['--redo']
        else:
            state = 'done' if record.done else 'interrupted'
        kept = record if state in ('done', 'interrupted') else None
        found[name] = Found(
            state=state,
            why=tuple(why),
            wanted=wanted,
            result=kept.result_name if kept else wanted.result(number or 0),
            redone=kept.redone if kept else number or 0,
            again=due,
            record=kept,
        )
    return found


def refuse_unequal_code(steps: Sequence[Step]) -> None:
    """Refuses to run if the workers have different code; every worker calls it.

    Raises:
        UserError: The digests of a stage's code differ between workers; the message names
            the first such stage and the modules.
    """
    every = gather({step.stage.name: dict(step.code) for step in steps})
    for name, code in every[0].items():
        for other in every[1:]:
            if other[name] != code:
                unlike = {*code.items()} ^ {*other[name].items()}
                modules = sorted({key.partition(':')[0] for key, _ in unlike})
                raise UserError(
                    f"stage '{name}': the workers have different code of "
                    f'{", ".join(modules)}: start all of them from the same files'
                )
