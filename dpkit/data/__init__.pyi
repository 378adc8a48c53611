from .dataset_objects import from_dataset as from_dataset
from .image_set import ImageSet as ImageSet
from .label_noise import flip_labels as flip_labels
from .loading import DATASETS as DATASETS
from .loading import from_arrays as from_arrays
from .loading import load as load
from .splits import hold_out as hold_out
from .toys import toy_images as toy_images
