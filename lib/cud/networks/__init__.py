"""Networks of Catch-Up Distillation, by idea.

config.py     MLPConfig, UNetConfig: what a network looks like, to JSON and back
presets.py    the networks of this book and of the paper, by name
mlp.py        the perceptron for points
unet.py       the U-Net for images: trunk f_theta and head g_i
blocks.py     residual block, self-attention, group normalisation
embedding.py  time and label
shakedrop.py  Prior ShakeDrop, the time-dependent weighting of skip connections
"""

from lib.cud.networks.config import MLPConfig, NetworkConfig, UNetConfig, network_config_from_dict, with_shakedrop
from lib.cud.networks.shakedrop import prior_shakedrop

__all__ = ["MLPConfig", "NetworkConfig", "UNetConfig", "network_config_from_dict", "prior_shakedrop", "with_shakedrop"]
