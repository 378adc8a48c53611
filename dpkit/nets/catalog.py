"""NETWORKS: every network by name, with a line on it. Loads no torch, for help texts.

A network is added by its builder and a line here; `make doors` puts it at this room's door.
"""

NETWORKS = {
    "small_cnn": "0.24 M parameters, minutes on two CPU cores",
    "fast_cnn": "0.57 M parameters, of the speed-run family",
    "fast_cnn_narrow": "0.15 M parameters",
    "fast_cnn_wide": "1.97 M parameters",
    "resnet18": "11.2 M parameters",
    "resnet34": "21.3 M parameters",
    "resnet50": "23.5 M parameters",
    "mobilenet_v3_small": "1.5 M parameters",
    "mobilenet_v3_large": "4.2 M parameters",
}
