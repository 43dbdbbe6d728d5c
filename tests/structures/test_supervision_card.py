"""Cards as values: joining, comparing, merging, writing; all by hand, nothing runs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from wsss_plugins.errors import DataError, UserError
from wsss_plugins.structures.card import (
    CRF,
    AppliedTo,
    Code,
    CodeState,
    KnownBy,
    Learnt,
    Method,
    Network,
    Source,
    Split,
    SupervisionCard,
    Tags,
    Taught,
    Threshold,
    history,
    merge_runs,
    supervision_in,
)
from wsss_plugins.structures.card_text import (
    LEGEND,
    card_from_json,
    card_to_json,
    long_form,
    short_form,
)

TRAIN = Split('VOC12', 'train', 1464, 'aaaa', masks='mmmm')
VAL = Split('VOC12', 'val', 1449, 'bbbb', masks='nnnn')
SEEN = replace(TRAIN, masks=None)
CLASSIFIER = Network(
    'classifier', 'ACRClassifier', 'vit (timm)', supervision_in('ImageNet-21k labels'),
    (KnownBy.TIMM(),), Learnt.TAGS(), SEEN,
)  # fmt: skip
SEGMENTOR = Network(
    'segmentor', 'EncoderDecoder', 'resnet.pth', supervision_in('ImageNet-1k labels'),
    (KnownBy.DECLARED(),), Learnt.LABEL_MAPS('pseudo'), SEEN,
)  # fmt: skip
SWEEP = Threshold('cam_score', Source.MASKS, 'the best', values=(0.5,), split=TRAIN)
TAKEN = Threshold(
    'pseudo', Source.MASKS, 'the best of cam_score', 0.8, (0.4,), of='cam_score'
)
SESSION = dict(seeds=(0,), commits=('c0',), versions=('torch 2',), devices=('CPU',), workers=(1,))  # fmt: skip


def trained() -> SupervisionCard:
    own = SupervisionCard(networks=(CLASSIFIER,), labels=Tags.NONE(), scales=(1.0,), flip=False, **SESSION)  # fmt: skip
    return replace(own, split=VAL).after({})


def seeds() -> SupervisionCard:
    own = SupervisionCard(
        split=SEEN, labels=Tags.TRUE(), scales=(0.5, 1.0), flip=True,
        methods=(Method('cam', 'CAM'),), **SESSION,
    )  # fmt: skip
    return own.after(dict(classifier=trained()))


def swept() -> SupervisionCard:
    own = SupervisionCard(split=TRAIN, thresholds=(SWEEP,), protocol=dict(convention='acr'))  # fmt: skip
    return own.after(dict(cam=seeds()))


def pseudo() -> SupervisionCard:
    own = SupervisionCard(
        split=SEEN, thresholds=(TAKEN,), crf=(CRF('pseudo', AppliedTo.LABELS, 'psa'),)
    )
    return own.after(dict(cam=seeds(), cam_score=swept()))


def predicted() -> SupervisionCard:
    own = SupervisionCard(networks=(SEGMENTOR,), split=VAL, labels=Tags.NONE(), scales=(1.0,), flip=False)  # fmt: skip
    segmentor = own.after(dict(pseudo=pseudo()))
    own = SupervisionCard(
        split=replace(VAL, masks=None), labels=Tags.NONE(), scales=(1.0,), flip=True,
        crf=(CRF('prediction', AppliedTo.PREDICTIONS, 'deeplab'),),
    )  # fmt: skip
    return own.after(dict(segmentor=segmentor))


def test_a_stage_goes_on_with_what_the_first_input_says() -> None:
    card = pseudo()
    assert (card.labels, card.scales, card.flip) == (Tags.TRUE(), (0.5, 1.0), True)
    assert card.networks == (CLASSIFIER,) and card.methods == (Method('cam', 'CAM'),)
    assert card.protocol == {}, 'that of the sweep is no part of it'
    assert card.seeds == (0,)


def test_the_sweep_is_told_once_by_the_stage_that_took_its_threshold() -> None:
    (threshold,) = pseudo().thresholds
    assert threshold == replace(TAKEN, split=TRAIN)
    assert swept().thresholds == (SWEEP,)


def test_training_begins_a_new_inference_and_keeps_the_history() -> None:
    card = predicted()
    assert (card.labels, card.scales, card.flip) == (Tags.NONE(), (1.0,), True)
    assert card.networks == (CLASSIFIER, SEGMENTOR)
    assert [(c.stage, c.on) for c in card.crf] == [
        ('pseudo', AppliedTo.LABELS),
        ('prediction', AppliedTo.PREDICTIONS),
    ]
    taught = SupervisionCard(networks=(replace(SEGMENTOR, stage='student'),))
    student = taught.after(dict(prediction=card))
    assert {c.on for c in student.crf} == {AppliedTo.LABELS}, 'of its teacher'
    assert student.split is None, 'nothing was measured'


def test_a_stage_without_images_has_those_before_it_but_no_masks() -> None:
    exported = SupervisionCard().after(dict(cam_score=swept()))
    assert exported.split == SEEN


def test_weights_of_a_stage_are_known_by_its_card() -> None:
    affinity = Network(
        'affinity', 'AffinityNet', 'backbone of classifier', frozenset(), (KnownBy.NOTHING(),),
        Learnt.LABEL_MAPS('confident'), SEEN, begins_with='classifier',
    )  # fmt: skip
    card = SupervisionCard(networks=(affinity,)).after(dict(classifier=trained()))
    assert card.networks[1].supervision == {Taught.LABELS('ImageNet-21k')}
    assert card.networks[1].known_by == (KnownBy.CARD('classifier'),)


@pytest.mark.parametrize(
    ('change', 'names'),
    [
        (dict(split=replace(TRAIN, checksum='other')), ['images']),
        (dict(split=replace(TRAIN, masks='other')), ['masks']),
        (dict(split=replace(TRAIN, left_out=2, images=1462, checksum='x')), ['images']),
        (dict(labels=Tags.NONE()), ['tags at inference']),
        (dict(labels=Tags.PREDICTED('probability >= 0.5')), ['tags at inference']),
        (dict(scales=(1.0,)), ['scales']),
        (dict(flip=False), ['flip']),
        (dict(thresholds=()), ['threshold']),
        (dict(thresholds=(Threshold('x', Source.FIXED),)), ['threshold']),
        (dict(thresholds=(Threshold('x', Source.LABEL_FREE, 'otsu'),)), ['threshold']),
        (dict(thresholds=(replace(SWEEP, split=VAL),)), ['threshold']),
        (dict(crf=(CRF('x', AppliedTo.PREDICTIONS, 'psa'),)), ['CRF on predictions']),
        (dict(protocol=dict(convention='irn')), ['protocol']),
        (dict(networks=(replace(CLASSIFIER, supervision=supervision_in('none')),)), ['initial weights']),
        (dict(networks=(replace(CLASSIFIER, learnt_from=Learnt.PIXELS()),)), ['learnt from']),
        (dict(networks=(replace(CLASSIFIER, split=replace(SEEN, checksum='z')),)), ['training images']),
        # What may differ between the rows of a table.
        (dict(methods=(Method('x', 'LRP'),)), []),
        (dict(crf=(CRF('x', AppliedTo.LABELS, 'psa'),)), []),
        (dict(thresholds=(replace(SWEEP, stage='y', factor=0.8, values=(0.1,)),)), []),
        (dict(networks=(CLASSIFIER, replace(SEGMENTOR, supervision=CLASSIFIER.supervision))), []),
        (dict(seeds=(0, 1), commits=('c1',), versions=(), devices=('GPU',), workers=(2,), runs=2), []),
    ],
)  # fmt: skip
def test_what_makes_rows_unlike(change: dict, names: list[str]) -> None:
    card = swept()
    other = replace(card, **change)
    assert card.unlike(other) == names == other.unlike(card)
    assert card.differences(other) == [
        name for name in SupervisionCard.__dataclass_fields__ if name in change
    ]


def test_unknown_weights_are_alike_only_if_they_are_the_same_file() -> None:
    def card(file: str) -> SupervisionCard:
        learnt = frozenset([Taught.UNKNOWN(f'{file}, not declared')])
        return replace(swept(), networks=(replace(CLASSIFIER, supervision=learnt),))

    assert card('a.pth').unlike(card('b.pth')) == ['initial weights']
    assert card('a.pth').unlike(card('a.pth')) == []


def test_one_failed_image_does_not_hide_that_the_masks_are_the_same() -> None:
    one_less = replace(TRAIN, images=1463, left_out=1, checksum='less')
    card = replace(swept(), split=one_less)
    assert card.key()['threshold'] == {'these masks'}


def test_json_and_back() -> None:
    for card in (SupervisionCard(), trained(), swept(), predicted()):
        content = json.loads(json.dumps(card_to_json(card)))
        assert card_from_json(content) == card
        assert content['short'] == short_form(card)
        assert content['pixels'] == list(card.pixels)
    for wrong in (None, 3, [], dict(split=dict(nonsense=1)), dict(networks=[{}])):
        with pytest.raises(DataError, match='this is no supervision card'):
            card_from_json(wrong)
    with pytest.raises(DataError, match='no supervision card'):
        card_from_json(dict(thresholds=[dict(stage='a')]))


@pytest.mark.parametrize(
    ('card', 'text'),
    [
        (trained(), 'VOC12 val 1449 · I · IN-21k · 1 view · 1 seed'),
        (swept(), 'VOC12 train 1464 · I · IN-21k · thr: these masks · true tags · ms+flip · 1 seed'),
        (predicted(), 'VOC12 val 1449 · I · IN-1k+IN-21k · thr: masks×0.8 · label CRF+CRF · flip · 1 seed'),
        (SupervisionCard(), ''),
        (SupervisionCard(split=replace(VAL, images=1447, left_out=2)), 'VOC12 val 1447 (-2)'),
        (SupervisionCard(networks=(replace(SEGMENTOR, learnt_from=Learnt.PIXELS(), supervision=supervision_in('COCO pixels + none')),)), 'F · COCO pixels+scratch'),
        (SupervisionCard(networks=(replace(CLASSIFIER, learnt_from=Learnt.TAGS_FROM_MASKS(), supervision=supervision_in('unknown (x)')),)), 'I from masks · weights ?'),
        (SupervisionCard(networks=(replace(CLASSIFIER, learnt_from=Learnt.UNKNOWN('no card'), supervision=supervision_in('none')),)), '? · scratch'),
        (SupervisionCard(thresholds=(Threshold('a', Source.LABEL_FREE, 'otsu', 0.5), Threshold('b', Source.FIXED))), 'thr: otsu×0.5, thr: fixed'),
        (SupervisionCard(labels=Tags.PREDICTED('probability >= 0.5'), scales=(1.5,), flip=False), 'predicted tags · scale 1.5'),
        (SupervisionCard(labels=Tags.TRUE_FROM_MASKS(), seeds=(0, 1, 2), runs=3), 'true tags from masks · 3 seeds'),
        (SupervisionCard(labels=Tags.FILES(), seeds=(3, 0)), 'tags ? · 1 seed'),
    ],
)  # fmt: skip
def test_the_short_form(card: SupervisionCard, text: str) -> None:
    assert short_form(card) == text


def test_every_abbreviation_is_in_the_legend() -> None:
    used = {'IN-1k', 'IN-21k', 'SSL', 'I', 'F', '?', 'scratch', 'true tags', 'CRF', 'label CRF'}  # fmt: skip
    known = {word for key in LEGEND for word in key.split(', ')}
    assert used <= known


def test_the_long_form_names_everything() -> None:
    text = dict(long_form(replace(predicted(), split=VAL)))
    assert text['images measured'] == '1449 of VOC12 val, checksum bbbb'
    assert text['network of classifier'] == (
        'ACRClassifier, vit (timm) (ImageNet-21k labels: name of timm), learns from '
        'image-level labels of VOC12 train 1464'
    )
    assert text['threshold of pseudo'] == (
        '0.8 times masks (the best of cam_score), on VOC12 train 1464: 0.4'
    )
    assert text['CRF of prediction'] == 'deeplab, on predictions'
    assert text['ground-truth pixels'] == 'threshold of pseudo'
    assert text['random seeds'] == '1 run, seeds 0'
    assert dict(long_form(SupervisionCard()))['ground-truth pixels'] == 'none'


def test_where_pixels_had_a_say() -> None:
    supervised = replace(
        SEGMENTOR,
        learnt_from=Learnt.PIXELS(),
        supervision=supervision_in('COCO pixels'),
    )
    derived = replace(CLASSIFIER, learnt_from=Learnt.TAGS_FROM_MASKS())
    card = SupervisionCard(
        networks=(derived, supervised),
        thresholds=(SWEEP,),
        labels=Tags.TRUE_FROM_MASKS(),
    )
    assert card.pixels == (
        'training of segmentor',
        'initial weights of segmentor: COCO pixels',
        'tags that classifier learnt from',
        'threshold of cam_score',
        'tags at inference',
    )
    fixed = Threshold('a', Source.FIXED)
    assert SupervisionCard(networks=(CLASSIFIER,), thresholds=(fixed,)).pixels == ()


def test_runs_with_other_seeds_are_one_card() -> None:
    def run(seed: int, commit: str, value: float) -> SupervisionCard:
        sweep = replace(SWEEP, values=(value,))
        return replace(swept(), seeds=(seed,), commits=(commit,), thresholds=(sweep,))

    card = merge_runs([run(0, 'b', 0.5), run(2, 'a', 0.6), run(1, 'b', 0.4)])
    assert card.seeds == (0, 1, 2) and card.runs == 3
    assert card.commits == ('a', 'b')
    assert card.thresholds[0].values == (0.5, 0.6, 0.4)
    assert short_form(card).endswith('3 seeds')
    assert merge_runs([swept()]) == swept()
    assert swept().unlike(card) == []
    with pytest.raises(UserError, match=r'more than the seed \(flip\)'):
        merge_runs([swept(), replace(swept(), flip=False)])
    with pytest.raises(UserError, match=r'\(split\)'):
        merge_runs([swept(), replace(swept(), split=replace(TRAIN, left_out=1))])


def test_history_forgets_who_and_where() -> None:
    kept = history(predicted())
    assert kept.networks == predicted().networks and kept.crf == predicted().crf
    assert kept.split is kept.labels is kept.scales is kept.flip is None
    assert kept.seeds == kept.commits == kept.devices == ()
    assert kept.thresholds[0].values == ()


def test_remarks_on_code_are_joined_read_and_absent_where_there_are_none() -> None:
    kept = Code('cam', CodeState.ACCEPTED)
    old = Code('net', CodeState.UNRECORDED)
    card = replace(swept(), code=(kept,)).after(
        {'net': replace(trained(), code=(old,))}
    )
    assert card.code == (old, kept) and card_from_json(card_to_json(card)) == card
    assert json.loads(json.dumps(card_to_json(card)))['code'] == [
        dict(stage='net', state='unrecorded'),
        dict(stage='cam', state='accepted'),
    ]
    rows = dict(long_form(card))
    assert (
        '--accept-code' in rows['code of cam'] and 'not recorded' in rows['code of net']
    )
    assert short_form(card).endswith('code accepted')
    lost = replace(swept(), code=(Code('crf', CodeState.LOST),))
    assert short_form(lost).endswith('background lost')
    assert 'lost the background' in dict(long_form(lost))['code of crf']
    assert card_from_json(card_to_json(lost)) == lost
    assert 'code' not in card_to_json(swept()) and 'code of cam' not in dict(
        long_form(swept())
    )
    other = replace(card, code=(), seeds=(2,))
    assert merge_runs([other, card]).code == card.code and not card.unlike(other)
    with pytest.raises(DataError, match='no supervision card'):
        card_from_json(dict(code=[dict(stage='cam', state='lost')]))
