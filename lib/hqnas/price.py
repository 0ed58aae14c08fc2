"""What a training step keeps in memory for its backward pass: counted, not measured, so the same on every machine."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def kept_for_backward(forward: Callable[[], Tensor], module: nn.Module) -> int:
    """Bytes that the computation of ``forward()`` keeps for its gradients, without the weights of ``module``.

    A piece of memory counts once, however many operations keep it.
    """
    own = {weight.untyped_storage().data_ptr() for weight in [*module.parameters(), *module.buffers()]}
    kept: dict[int, int] = {}
    alive = []  # else memory that is freed and given out again would be taken for the same piece

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(kept.values())
