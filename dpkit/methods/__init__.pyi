from .by_influence import anneal_influence as anneal_influence
from .by_influence import lone_influence as lone_influence
