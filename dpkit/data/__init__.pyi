from .image_set import DATASETS as DATASETS
from .image_set import ImageSet as ImageSet
from .image_set import from_arrays as from_arrays
from .image_set import load as load
from .label_noise import flip_labels as flip_labels
from .toys import toy_images as toy_images
