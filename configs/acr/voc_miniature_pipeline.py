"""The whole road on a tree of Pascal VOC 2012, with networks for images of 64 px.

From wsss prepare voc12 to the archive of the test server. It is what the tests
run on a generated devkit; give it your own with --data-root.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds, stages

with read_base():
    from .._base_.road.stages import look, refine, score, segmentation, train
    from .._base_.road.voc import data_root, datasets
_test = dict(datasets.images, split='test', labels=None, test_mode=True)
datasets.update(test_images=_test)
_split = {'train_dataloader.dataset.split': 'train_aug'}
trainings = dict(
    classifier=dict(
        config='synthetic.py', options={'model.head.num_classes': 20, **_split}
    ),
    segmentor=dict(
        config='../deeplabv2/synthetic.py',
        options={
            'model.decode_head.num_classes': 21,
            'model.decode_head.loss_decode.class_weight': [0.4] + [1.0] * 20,
            **_split,
        },
    ),
)
predict = dict(segmentation.prediction, scales=(0.75, 1.0, 1.25))
pipeline = dict(
    classifier=train,
    cam=dict(look, head=dict(type=seeds.CAM), input_size=(64, 64)),
    cam_score=dict(score, seeds='cam'),
    pseudo=dict(
        refine,
        seeds='cam',
        threshold='otsu',
        refiners=[
            dict(type=refiners.ConstantBackground),
            dict(type=refiners.DenseCRF, preset='psa', reference_size=500),
        ],
    ),
    segmentor=segmentation.segmentor,
    val_prediction=predict,
    val_score=dict(segmentation.prediction_score, labels='val_prediction'),
    test_prediction=dict(predict, dataset='test_images'),
    submission=dict(
        type=stages.SubmissionStage,
        labels='test_prediction',
        dataset='test_images',
        competition=5,  # no other data, no weights of ImageNet
    ),
)
