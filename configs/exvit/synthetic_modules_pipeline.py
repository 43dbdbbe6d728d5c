"""Table 6 on the synthetic data set: what each loss of eX-ViT adds to its maps.

Where L_global is off, the class maps are the plain CAM of the encoder; see
docs/methods.md. L_div weighs 0.1 as in synthetic.py; the last row has the paper's 1.
"""

from mmengine.config import read_base

from wsss_plugins.seeds import AttributeCAM
from wsss_plugins.stages import EvaluateSeedStage, SeedStage, TrainStage

with read_base():
    from .._base_.exvit_ablations import modules
    from .synthetic_pipeline import images, masks, val_masks

seed = 0
rows = {**modules, 'all_paper': {'model.attribute_loss.diversity': 1.0}}

pipeline = [
    stage
    for name, options in rows.items()
    for stage in (
        dict(type=TrainStage, name=name, config='synthetic.py', options=options),
        dict(
            type=SeedStage,
            name=f'{name}_maps',
            model=name,
            head=dict(type=AttributeCAM),
            dataset=images,
            batch_size=50,
        ),
        dict(
            type=EvaluateSeedStage,
            name=f'{name}_train',
            seeds=f'{name}_maps',
            dataset=masks,
        ),
        dict(
            type=SeedStage,
            name=f'{name}_val_maps',
            model=name,
            head=dict(type=AttributeCAM),
            dataset=dict(images, split='val'),
            batch_size=50,
        ),
        dict(
            type=EvaluateSeedStage,
            name=f'{name}_val',
            seeds=f'{name}_val_maps',
            dataset=val_masks,
        ),
    )
]
