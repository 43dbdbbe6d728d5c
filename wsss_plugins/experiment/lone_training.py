"""Trains one model outside of a pipeline, and keeps a record of the training."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsss_plugins.config import plain
from wsss_plugins.datasets.look import Look
from wsss_plugins.engine.code_digests import CodeDigests
from wsss_plugins.engine.fingerprint import DataDigests, fingerprint, without_remarks
from wsss_plugins.engine.record import StageRecord, environment
from wsss_plugins.engine.workers import barrier, gather, rank, world_size
from wsss_plugins.errors import DataError, UserError
from wsss_plugins.experiment.data_look import look_at_data, refuse_problems
from wsss_plugins.experiment.step import Found, Step, refuse_unequal_code
from wsss_plugins.progress import say
from wsss_plugins.provenance.files import (
    card_of_folder,
    remarks_on_code,
    renewed,
    save_metrics,
)
from wsss_plugins.provenance.networks import begun_network
from wsss_plugins.stages.train import TrainStage, train_alone
from wsss_plugins.structures import load_json
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_text import card_to_json
from wsss_plugins.structures.layout import (
    CONTENTS,
    IDENTITY_FILE,
    LOCK_FILE,
    METRICS_FILE,
    PREVIOUS,
    RESUME_FILE,
    TRAINING,
    WEIGHTS_FILE,
)

STAYS = (PREVIOUS, IDENTITY_FILE, LOCK_FILE, CONTENTS)
"""Files and folders of a work dir that stay when its training is moved aside."""


class LoneTraining:
    """A training config, and all that the result of the training depends on.

    The record of the training is written to a folder in the work dir. A work dir is
    refused if its model was trained with another config, seed, data or code.

    Args:
        cfg: A training config.
        accept_code: True to keep a model whose code has changed if nothing else has; its
            card then has a remark.

    Raises:
        ConfigError: The config names an unknown plug-in or argument.
        DataError: A data set of the config cannot be read.
        UserError: The workers have different code.
    """

    def __init__(self, cfg: Config, accept_code: bool = False) -> None:
        self.cfg, self.seed = cfg, int(cfg.get('seed') or 0)
        self.accept_code = accept_code
        config = {key: value for key, value in cfg.to_dict().items() if key != 'seed'}
        self.stage = TrainStage('train', config)
        self.stage.seed = self.seed
        digests = DataDigests()
        whole = dict(config=config)
        data = digests.named(whole)
        kept = plain(without_remarks(whole, ()))
        hashed = fingerprint([kept, [digest for _, digest in data]], self.seed, {})
        code = CodeDigests()(whole, TrainStage)
        files = digests.contents(whole, self.stage)
        step = Step(self.stage, whole, hashed, {}, code, kept, data, files)
        refuse_unequal_code([step])
        self.wanted = step.wanted({})

    def run(
        self,
        work_dir: Path,
        redo: bool = False,
        everything: bool = False,
        tell: Callable[[Sequence[Look]], None] = lambda looks: None,
    ) -> tuple[dict[str, Any], SupervisionCard | None]:
        """Trains the model, resumes its training, or does nothing if it is done.

        Every worker calls this method.

        Args:
            work_dir: Folder of the weights and of ``metrics.json``.
            redo: True to move the files of ``work_dir`` to ``.previous`` and train again
                from the start.
            everything: Whether the look at the data decodes all photos and masks.
            tell: Called with what the look found, before the training begins.

        Returns:
            The metrics, and their card, which is None on all workers but the first.

        Raises:
            DataError: The look at the data found what makes the training fail.
            UserError: ``work_dir`` has a model of another config, seed, data or code.
        """
        found = gather(self._found(work_dir, redo) if rank() == 0 else None)[0]
        if isinstance(found, str):
            raise UserError(found)
        record, card = found, None
        if record is not None and record.done:
            metrics, card = record.metrics, record.supervision
            if rank() == 0:
                say(f'already trained, nothing to do: {work_dir / WEIGHTS_FILE}')
        else:
            looks = look_at_data([self.stage.cfg.to_dict()], everything, made=True)
            tell(looks)
            refuse_problems(looks)
            record = self._begin(work_dir, record)
            metrics, card = train_alone(self.cfg, work_dir, self.seed)
            record.metrics, record.done = metrics, True
        if rank() == 0:
            card = self._finish(work_dir, record, card)
        barrier()
        return metrics, card

    def _found(self, work_dir: Path, redo: bool) -> StageRecord | str | None:
        """The record of a training to keep or resume, None for a new one.

        Returns a message if the work dir has another training.
        """
        record = StageRecord.load(work_dir / TRAINING)
        if record is None:
            record = self._of_an_earlier_version(work_dir)
        if redo and record is not None:
            self._set_aside(work_dir, record)
            return None
        if record is None or self.wanted.is_met_by(record, self.accept_code):
            return record
        why = '; '.join(self.wanted.against(record, work_dir / TRAINING))
        return (
            f'work dir {work_dir} holds another training ({why}): choose another with '
            f'--work-dir, or train anew with --redo, which keeps what is there in '
            f'{work_dir / PREVIOUS}'
        )

    def _begin(self, work_dir: Path, record: StageRecord | None) -> StageRecord:
        """Writes the record of a training that starts or resumes."""
        redone = _times_redone(work_dir) if record is None else record.redone
        found = Found(
            state='new' if record is None else 'interrupted',
            why=(),
            wanted=self.wanted,
            result=self.wanted.result(redone),
            redone=redone,
            again=False,
            record=record,
        )
        begun = found.begin(self.stage, environment(world_size()))
        barrier()
        if rank() == 0:
            begun.save(work_dir / TRAINING)
            self.wanted.keep_copy(work_dir / TRAINING)
        return begun

    def _finish(
        self, work_dir: Path, record: StageRecord, card: SupervisionCard | None
    ) -> SupervisionCard | None:
        """Writes the record and the card, with the present declarations of the config."""
        code = dict(self.wanted.code)
        record.accepted = None if self.wanted.is_made_by(record) else code
        if record.data is None:
            record.data, record.data_noted = self.wanted.digests, True
        if card is not None:
            networks = {'train': begun_network('train', self.stage.cfg)[0]}
            now = replace(renewed(card, networks), code=remarks_on_code(record))
            if now != card:
                save_metrics(work_dir / METRICS_FILE, record.metrics, now)
            card, record.card = now, card_to_json(now)
        record.save(work_dir / TRAINING)
        self.wanted.keep_copy(work_dir / TRAINING)
        return card

    def _of_an_earlier_version(self, work_dir: Path) -> StageRecord | None:
        """A record for a training of a version without records; prints a note on it.

        The training counts as one of the present config, data and code.
        """
        done = (work_dir / METRICS_FILE).is_file() and (
            work_dir / WEIGHTS_FILE
        ).is_file()
        if not done and not (work_dir / RESUME_FILE).is_file():
            return None
        card = card_of_folder(work_dir)
        seeds = card.seeds if card is not None and card.seeds else (self.seed,)
        say(
            f'{work_dir}: an earlier version trained this model and did not note what it '
            'follows from: it is taken as made with the config, the data and the code of '
            'today, and a later change is seen'
        )
        return StageRecord(
            stage='train',
            kind=TrainStage.__name__,
            fingerprint=self.wanted.fingerprint if self.seed in seeds else 'of another',
            inputs={},
            seed=self.seed if self.seed in seeds else seeds[0],
            done=done,
            metrics=_metrics(work_dir) if done else {},
            card=None if card is None else card_to_json(card),
        )

    def _set_aside(self, work_dir: Path, record: StageRecord) -> None:
        name = '-'.join(filter(None, ['train', record.fingerprint, record.result]))
        place = work_dir / PREVIOUS / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for path in sorted(work_dir.iterdir()):
            if path.name not in STAYS:
                path.rename(place / path.name)


def _metrics(work_dir: Path) -> dict[str, Any]:
    try:
        return dict(load_json(work_dir / METRICS_FILE)['metrics'])
    except (DataError, KeyError, TypeError, ValueError):
        return {}


def _times_redone(work_dir: Path) -> int:
    """Number of trainings that were moved aside in a work dir."""
    return len(list((work_dir / PREVIOUS).glob('train-*')))
