"""Table 7 of eX-ViT on the synthetic set: channels c and number S of the attributes.

c is a quarter of the paper's. Scored are the maps on train and val, not a segmentor.
"""

from mmengine.config import read_base

from wsss_plugins.seeds import AttributeCAM
from wsss_plugins.stages import EvaluateSeedStage, SeedStage, TrainStage

with read_base():
    from .synthetic_pipeline import images, masks

seed = 0
sizes = [(128, 8), (128, 16), (64, 4), (64, 8), (64, 16), (32, 4), (32, 8)]

pipeline = [
    stage
    for channels, count in sizes
    for stage in (
        dict(
            type=TrainStage,
            name=f'c{channels}_s{count}',
            config='synthetic.py',
            options={
                'model.head.channels': channels,
                'model.head.attributes': count,
            },
        ),
        dict(
            type=SeedStage,
            name=f'c{channels}_s{count}_maps',
            model=f'c{channels}_s{count}',
            head=dict(type=AttributeCAM),
            dataset=images,
            batch_size=50,
        ),
        dict(
            type=EvaluateSeedStage,
            name=f'c{channels}_s{count}_score',
            seeds=f'c{channels}_s{count}_maps',
            dataset=masks,
        ),
    )
]
