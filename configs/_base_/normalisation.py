"""Mean and deviation of the photos that weights were trained with, of values to 255."""

half = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
imagenet = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
