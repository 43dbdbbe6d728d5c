"""The page that compares two runs, and the same in a few lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from wsss_plugins.provenance.compare import explain_unlike
from wsss_plugins.report.changed_images import cards, changed_stages, most_changed
from wsss_plugins.report.charts import bar_charts
from wsss_plugins.report.difference import (
    Number,
    Side,
    StageDifference,
    differences,
    image_mious,
    main_metrics,
    mean_change,
    number_of,
)
from wsss_plugins.report.error_pictures import CHANGE_COLOURS, colour_legend
from wsss_plugins.report.markup import large_numbers, number, section, table, tag
from wsss_plugins.report.page import page

OWN = ('config', 'seed', 'code', 'data')
"""What of a stage makes its result another one."""
CLASSES_SHOWN = 20
"""Classes of a stage that the page charts: those that changed most."""


def difference_page(one: Side, other: Side, gallery: int = 6) -> str:
    """The whole page, without any external resource.

    Args:
        one: The first run, or several of it.
        other: The second.
        gallery: How many of the images that changed most to show of each stage.

    Returns:
        An HTML document.
    """
    titles = names_of(one, other)
    found = differences(one, other)
    sections = [
        _overview(one, other, titles),
        _stages(found, titles),
        _numbers(one, other, titles),
        _classes(one, other, titles),
        _images(one, other, titles, gallery),
    ]
    notes = (
        f'First: {_places(one)}.\n\nSecond: {_places(other)}.\n\nDifferences are second '
        'minus first. Stages and images are compared between the first run of each side.'
    )
    return page(f'{titles[0]} and {titles[1]}', notes, [], sections)


def names_of(one: Side, other: Side) -> tuple[str, str]:
    """What to call the two sides: their names, if they differ."""
    if one.name != other.name:
        return one.name, other.name
    folders = [side.runs[0] for side in (one, other)]
    longer = [f'{f.parent.name}/{f.name}' for f in folders]
    if longer[0] == longer[1]:
        return f'{longer[0]} (first)', f'{longer[1]} (second)'
    return longer[0], longer[1]


def _places(side: Side) -> str:
    more = f' and {len(side.runs) - 1} more runs' if len(side.runs) > 1 else ''
    return f'{side.runs[0]}{more}'


def difference_lines(one: Side, other: Side) -> list[str]:
    """The comparison in lines of text: stages that differ, then the main numbers."""
    titles = names_of(one, other)
    lines = [f'first  {_places(one)}', f'second {_places(other)}']
    found = differences(one, other)
    same = [each.stage for each in found if each.same]
    for each in found:
        if not each.same:
            lines.append(f'{each.stage}: {"; ".join(_texts(each, titles))}')
    if same:
        lines.append(f'made alike: {", ".join(same)}')
    for stage, key in main_metrics(one, other):
        numbers = [number_of(side.values(stage).get(key, [])) for side in (one, other)]
        texts = ' → '.join(_number(each) for each in numbers)
        lines.append(f'{stage} {key}: {texts} ({_step(*numbers)})')
    return lines


def _texts(each: StageDifference, titles: Sequence[str]) -> list[str]:
    """The differences of a stage in words."""
    if each.missing:
        return [f'not in {each.missing}']
    texts = [f'{kind}: {text}' for kind in OWN for text in each.own.get(kind, ())]
    if each.reads:
        texts.append(f'reads {", ".join(each.reads)}, made otherwise')
    return texts


def _number(value: Number | None) -> str:
    if value is None:
        return '–'
    spread = '' if value.spread is None else f' ± {value.spread:.2f}'
    return f'{value.mean:.2f}{spread}'


def _step(one: Number | None, other: Number | None) -> str:
    return '–' if one is None or other is None else f'{other.mean - one.mean:+.2f}'


def _overview(one: Side, other: Side, titles: Sequence[str]) -> str:
    """The main numbers, and whether they may be compared."""
    large, notes = [], []
    for stage, key in main_metrics(one, other):
        numbers = [number_of(side.values(stage).get(key, [])) for side in (one, other)]
        texts = ' → '.join(number(None if n is None else n.mean) for n in numbers)
        large.append((_step(*numbers), stage.replace('_', ' '), f'{key} {texts}'))
        mine, theirs = (side.records[stage].supervision for side in (other, one))
        if mine is None or theirs is None or mine.unlike(theirs):
            notes.append(f'{stage}: {explain_unlike(mine, theirs)}')
    text = ''
    if notes:
        listed = ''.join(tag('li', escape(note)) for note in notes)
        said = f'These numbers may not be compared ({titles[1]}, not {titles[0]}):'
        text = tag('p', escape(said)) + tag('ul', listed)
    return (
        section('overview', 'What came out', large_numbers(large), text)
        if large
        else ''
    )


def _stages(found: Sequence[StageDifference], titles: Sequence[str]) -> str:
    rows = []
    for each in found:
        texts = ''.join(tag('li', escape(text)) for text in _texts(each, titles))
        machine = ', '.join(each.own.get('machine', ()))
        rows.append(
            [
                tag('code', escape(each.stage)),
                tag('ul', texts, class_='how') if texts else 'made alike',
                tag('small', escape(machine)) if machine else '',
            ]
        )
    caption = (
        'What makes the results of two stages differ: keys of the config, the random seed, '
        'code, data, and stages that they read. Machine, commit and versions change no '
        'result by themselves.'
    )
    head = ('stage', 'difference', 'machine, commit, versions')
    return section('stages', 'Stage by stage', table(head, rows, caption))


def _numbers(one: Side, other: Side, titles: Sequence[str]) -> str:
    rows = []
    for stage in other.records:
        if stage not in one.records:
            continue
        sides = [side.values(stage) for side in (one, other)]
        for key in sides[1]:
            numbers = [number_of(values.get(key, [])) for values in sides]
            if None in numbers:
                continue
            rows.append(
                [
                    f'{tag("code", escape(stage))} {escape(key)}',
                    *map(_number, numbers),
                    _step(*numbers),
                    _change(one, other, stage) if key == 'miou' else '–',
                ]
            )
    head = ['', f'#{titles[0]}', f'#{titles[1]}', '#difference', 'per image']
    caption = (
        'Every number that both have; ± is the sample standard deviation over random seeds. '
        '"Per image" is the mean change of the mIoU of an image, with the interval that '
        'holds 95 % of its bootstrap resamples over the images.'
    )
    return section('numbers', 'The numbers', table(head, rows, caption)) if rows else ''


def _change(one: Side, other: Side, stage: str) -> str:
    found = mean_change(image_mious(one, stage), image_mious(other, stage))
    if found is None:
        return '–'
    interval = f'{found.low:+.2f} to {found.high:+.2f}, {found.images} images'
    return tag(
        'span', f'{found.mean:+.2f} {tag("small", f"({interval})")}', class_='oneline'
    )


def _classes(one: Side, other: Side, titles: Sequence[str]) -> str:
    """IoU of each class, the largest change first."""
    content = ''
    for stage, _ in main_metrics(one, other):
        ious = [side.class_ious(stage) for side in (one, other)]
        shared = [
            name
            for name in ious[1]
            if name in ious[0] and (ious[0][name] or ious[1][name])
        ]
        shared.sort(key=lambda name: -abs(ious[1][name] - ious[0][name]))
        if not shared:
            continue
        rows = [
            [
                escape(name),
                *(number(of[name]) for of in ious),
                f'{ious[1][name] - ious[0][name]:+.1f}',
            ]
            for name in shared
        ]
        head = ['class', f'#{titles[0]}', f'#{titles[1]}', '#difference']
        caption = (
            'IoU in percent, means over the runs of each side; classes at 0 in both are '
            'left out.'
        )
        charted = shared[:CLASSES_SHOWN]
        series = {
            title: {name: of[name] for name in charted}
            for title, of in zip(titles, ious, strict=True)
        }
        content += tag('h3', tag('code', escape(stage)))
        content += table(head, rows, caption) + bar_charts(series)
    return section('classes', 'Class by class', content)


def _images(one: Side, other: Side, titles: Sequence[str], gallery: int) -> str:
    content = ''
    for changed in changed_stages(one, other):
        notes = most_changed(changed, one, other, gallery)
        if notes:
            pictures = tag('div', *cards(changed, notes, titles), class_='cards')
            content += tag('h3', tag('code', escape(changed.stage))) + pictures
    if not content:
        return ''
    text = (
        'Of every stage that made label maps or seeds in both runs. Seeds are cut at the '
        'best threshold of their run.'
    )
    return section(
        'images',
        'The images that changed most',
        tag('p', text),
        colour_legend(CHANGE_COLOURS),
        content,
    )
