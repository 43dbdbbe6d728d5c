"""A folder of one's own photos and a table of tags: --data-root says which."""

from wsss_plugins.datasets import FolderWSSS

data_root = 'data/photos'
images = dict(type=FolderWSSS, data_root=data_root, split='train')
all_images = dict(images, split='all')
val_images = dict(images, split='val')

# Longer side of a photo, in pixels, as the networks see it; it is never read larger.
long_side = 384
