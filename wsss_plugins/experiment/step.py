"""The steps of a pipeline, and what a work dir has of each."""

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
    """A stage, the config it was built from, and what its result follows from.

    Attributes:
        stage: The stage.
        config: Its config.
        fingerprint: Hash of the config, the seed, the data and the inputs.
        inputs: Fingerprint of each stage it reads.
        code: See :class:`~wsss_plugins.engine.code_digests.CodeDigests`.
        says: The config as plain values, without what no result depends on.
        data: Digest of each data set, with its name.
        contents: The files that it reads from outside of the work dir.
    """

    stage: Stage
    config: dict[str, Any]
    fingerprint: str
    inputs: Mapping[str, str]
    code: Mapping[str, str]
    says: Any
    data: tuple[tuple[str, str], ...]
    contents: Mapping[str, Content] = field(default_factory=dict)

    def wanted(self, reads: Mapping[str, str]) -> Wanted:
        """What its result must be of, given the names of the results that it reads."""
        return Wanted(
            fingerprint=self.fingerprint,
            seed=self.stage.seed,
            inputs=self.inputs,
            reads=reads,
            code=self.code,
            config=self.says,
            data=self.data,
            contents=self.contents,
        )


@dataclass(frozen=True)
class Found:
    """What a work dir has of a step.

    Attributes:
        state: 'new', 'done', 'interrupted' or 'changed'.
        why: What has changed, in words; empty in the other states.
        wanted: What the result must be of.
        result: Name of the result that is there or will be.
        redone: How often it was, or will have been, done again.
        again: Whether it is due to be done again, so that no earlier result will do.
        record: Of the result that is there and stays; None where it runs from the start.
    """

    state: str
    why: tuple[str, ...]
    wanted: Wanted
    result: str
    redone: int
    again: bool
    record: StageRecord | None

    def begin(self, stage: Stage, environment: dict[str, Any]) -> StageRecord:
        """The record of a stage whose run begins or goes on, where it does."""
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
    """What a work dir has of some steps.

    Args:
        steps: In order, and with them the steps whose results they read.
        work_dir: Folder of the experiment.
        redo: Stages that are to be done again.
        any_code: Whether results stay whose code alone has changed.
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
            number = record.redone + record.done  # what was interrupted goes on
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
    """Refuses workers that see different code; every worker calls it.

    Raises:
        UserError: Names the first stage and its modules.
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
