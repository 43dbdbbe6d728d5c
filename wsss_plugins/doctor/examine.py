"""The whole examination: data sets, findings, and the report."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_plugins.doctor.findings import Finding, Findings
from wsss_plugins.doctor.machine import MACHINE, examine_machine
from wsss_plugins.errors import DataError


@dataclass(frozen=True)
class Report:
    """The findings in one place.

    Attributes:
        place: A data root, or 'environment'.
        title: What it is.
        facts: Lines that describe the contents.
        findings: Findings, problems first.
    """

    place: str
    title: str
    facts: tuple[str, ...]
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return dict(
            place=self.place,
            title=self.title,
            facts=list(self.facts),
            findings=[finding.to_json() for finding in self.findings],
        )

    def lines(self) -> list[str]:
        """What people read."""
        lines = [f'{self.place}: {self.title}' if self.title else self.place]
        lines += [f'  {fact}' for fact in self.facts]
        for finding in self.findings:
            lines.append(
                f'  {"PROBLEM" if finding.problem else "note"}: {finding.message}'
            )
            if finding.mend:
                lines.append(f'    mend: {finding.mend}')
        return lines


@dataclass(frozen=True)
class Examination:
    """All reports of one examination."""

    reports: tuple[Report, ...]

    @property
    def findings(self) -> list[Finding]:
        """The findings of all reports."""
        return [finding for report in self.reports for finding in report.findings]

    @property
    def healthy(self) -> bool:
        """Whether there is no problem; notes do not count."""
        return not any(finding.problem for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        reports = [report.to_json() for report in self.reports]
        return dict(healthy=self.healthy, reports=reports)

    def text(self) -> str:
        """What people read."""
        parts = ['\n'.join(report.lines()) for report in self.reports]
        problems = sum(finding.problem for finding in self.findings)
        notes = len(self.findings) - problems
        verdict = (
            f'{problems} problem{"s" * (problems != 1)}' if problems else 'healthy'
        )
        if notes:
            verdict += f', {notes} note{"s" * (notes != 1)}'
        return '\n\n'.join([*parts, verdict])


def examine(
    roots: Sequence[Path | str], quick: bool = False, workers: int = 2
) -> Examination:
    """Examines the environment, and every data set in ``roots`` or below them.

    Args:
        roots: Data roots, or folders that hold some.
        quick: Whether to decode only a sample of the pictures.
        workers: Threads that decode.

    Raises:
        DataError: A root does not exist.
    """
    paths = [Path(root) for root in roots]
    for path in paths:
        if not path.is_dir():
            what = 'is a file' if path.exists() else 'does not exist'
            raise DataError(f'data root {path} {what}: name a folder')
    findings = Findings(MACHINE)
    facts = examine_machine(findings, paths)
    if not findings.has('packages', 'import'):
        _try_imports(findings)
    reports = [Report('environment', '', tuple(facts), tuple(findings.gathered()))]
    if findings.has('packages', 'import'):
        text = 'data sets are examined once the environment is mended'
        return Examination((*reports, Report('data', text, (), ())))
    for path in paths:
        reports += _examine_root(path, quick, workers)
    return Examination(tuple(reports))


def _try_imports(findings: Findings) -> None:
    for name in ('mmengine', 'mmcv', 'mmseg', 'timm'):
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken installation raises anything
            reason = ' '.join(str(error).split())[:200] or type(error).__name__
            findings.add('import', name=name, error=reason)
            return


def _examine_root(root: Path, quick: bool, workers: int) -> list[Report]:
    # These need OpenMMLab, which the environment may lack.
    from wsss_plugins.doctor.coco import examine_coco
    from wsss_plugins.doctor.imagenet import examine_imagenet
    from wsss_plugins.doctor.kinds import KINDS
    from wsss_plugins.doctor.others import (
        examine_imagenet_seg,
        examine_sbd,
        examine_tables,
    )
    from wsss_plugins.doctor.pictures import Ward
    from wsss_plugins.doctor.recognise import find_data_sets, kind_of_folder
    from wsss_plugins.doctor.voc import examine_voc

    examiners = {
        'voc': examine_voc,
        'coco': examine_coco,
        'imagenet': examine_imagenet,
        'imagenet-seg': examine_imagenet_seg,
        'sbd': examine_sbd,
        'folder': examine_tables,
    }
    reports = []
    for kind, place in find_data_sets(root):
        ward = Ward(place, Findings(KINDS, place), quick, workers)
        title = examiners[kind](ward)
        found = tuple(ward.findings.gathered())
        reports.append(Report(str(place), title, tuple(ward.facts), found))
    if not reports:
        findings = Findings(KINDS)
        above = next((p for p in root.resolve().parents if kind_of_folder(p)), None)
        names = [f'{p.name}/' if p.is_dir() else p.name for p in sorted(root.iterdir())]
        holds = ', '.join(names[:4]) + (' ...' if len(names) > 4 else '')
        findings.add('unrecognised', root=root, holds=holds or 'nothing')
        facts = (f'{above} looks like a data set: name that folder',) if above else ()
        reports.append(
            Report(str(root), 'no data set', facts, tuple(findings.gathered()))
        )
    return reports
