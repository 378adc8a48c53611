"""The length of each sample's loss gradient, over all parameters: GraNd as the paper defines it."""

from collections.abc import Iterable
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.graph import get_gradient_edge
from torch.func import functional_call, grad, vmap

from dpkit.data.image_set import ImageSet
from dpkit.records import Scores
from dpkit.records.set_facts import set_facts_of
from dpkit.training.inference import autocast, eval_mode, full_float32

# what a chunk may hold: activations and gradients of its samples, roughly
CHUNK_BYTES = 512 * 2**20
LARGEST_CHUNK = 64  # images in a chunk; more gain nothing
_SCRATCH = {"cpu": 2**19, "cuda": 2**26}  # floats of image patches at a time: a CPU's fit its cache


def gradient_norms(
    net: nn.Module, images: ImageSet, *, batch_size: int | None = None, precision: str = "fp32"
) -> Scores:
    """Length of the loss gradient over all parameters (GraNd of the whole network).

        GraNd(x) = || d CE(net(x), y) / d theta ||_2,   theta all parameters, frozen ones too

    Of a net with several exits the final one counts. Each sample has the gradient of its own loss,
    whatever its batch. Clean images in eval mode: batch norm uses its running statistics, as
    otherwise the gradient of one sample would depend on the others. One network is a noisy
    estimate; the paper averages ten or more, a few epochs old.

    Parameters
    ----------
    net : net(x) -> logits (B, C).
    images : the whole set; the score of row i is that of images.ids[i].
    batch_size : images at a time; None takes as many, up to 64, as keep what is held of them below
        about 512 MB.
    precision : "fp32", "bf16" or "auto", as in take_snapshot.

    Returns
    -------
    Scores (n,), in nats per unit of weight, >= 0; higher is more worth keeping. The net's mode is
    put back afterwards.

    Raises
    ------
    ValueError for a part of a set, and for a class that the network does not know.

    Notes
    -----
    Convolutions, linear layers and batch norms give their samples' gradients from what one backward
    pass leaves at their ends; a net with parameters elsewhere, or used in other ways, goes through
    torch.func, sample by sample inside one call.

    References
    ----------
    Paul et al., NeurIPS 2021, arXiv 2107.07075; a convolution's own way, Rochette et al., arXiv
    1912.06015.
    """
    if len(images) != images.total:
        raise ValueError(
            f"gradient_norms needs the whole set, so that row i is sample i; got {len(images)} of "
            f"{images.total} samples: pass the set before .subset"
        )
    images = images.aligned(set_facts_of(net), "gradient_norms")
    found = []
    # also for the comparison of an image's gradient by two ways
    with eval_mode(net), torch.enable_grad(), full_float32():
        modules, floats = try_one_image(net, images.clean(slice(0, 1)))
        if batch_size is None:
            floats += 0 if modules else sum(p.numel() for p in net.parameters())
            batch_size = min(LARGEST_CHUNK, max(1, CHUNK_BYTES // (4 * floats)))
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            x, y = images.clean(rows), images.labels[rows]
            with autocast(images, precision):
                found.append(
                    (_by_layer(net, modules, x, y) if modules else _by_sample(net, x, y))
                    .double()
                    .cpu()
                )
    values = torch.cat(found or [torch.zeros(0)]).numpy()
    wrong = np.flatnonzero(np.isnan(values))
    if len(wrong):
        raise ValueError(
            f"gradient_norms needs a network whose gradients are numbers; {len(wrong)} of "
            f"{len(values)} are NaN (first: row {wrong[0]}): it diverged, so train it again at a "
            "lower rate"
        )
    return Scores(values, "gradient_norms", {"precision": precision})


def _by_sample(net, x, y):
    """(B,) norms for any net: torch.func's gradient of one sample, mapped over the chunk."""
    parameters = {name: parameter.detach() for name, parameter in net.named_parameters()}

    def loss(parameters, image, label):
        return F.cross_entropy(
            functional_call(net, parameters, (image[None],)).float(), label[None]
        )

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    return torch.stack(
        [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients.values()]
    ).norm(dim=0)


# ---- layer by layer ------------------------------------------------------------------------------


def _by_layer(net, modules, x, y):
    """(B,) norms, from the input of each module and the gradient at its output; these are never
    multiplied out if large.

    In eval mode samples do not meet, so one backward pass of the summed loss holds every sample's
    own.
    """
    return sum(_squares(net, modules, x, y).values(), torch.zeros(len(x), device=x.device)).sqrt()


def _squares(
    net: nn.Module, modules: Iterable[nn.Module], x: torch.Tensor, y: torch.Tensor
) -> dict:
    """Squared lengths of each sample's gradient by module that the loss uses: {module: (B,)}."""
    seen = []
    # the edge, not the output: a ReLU in place may change that before its gradient is asked for
    with _hooks(
        modules,
        lambda module, args, output: seen.append(
            (module, args[0].detach(), get_gradient_edge(output))
        ),
    ):
        # so that frozen layers have gradients at their ends too
        logits = net(x.requires_grad_().clone())
    loss = F.cross_entropy(logits.float(), y, reduction="sum")
    # an exit that is not the final one
    gradients = torch.autograd.grad(loss, [edge for _, _, edge in seen], allow_unused=True)
    return {
        module: _RULES[type(module)](module, inside, g)
        for (module, inside, _), g in zip(seen, gradients)
        if g is not None
    }


def _conv2d(conv, x, g):
    """Squared length of each sample's gradient in a convolution: a matrix product of its image
    patches with g.
    """
    floats = (
        conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1] * g[0, 0].numel()
        + conv.weight.numel()
    )
    size, found = max(1, _SCRATCH[x.device.type] // floats), []
    for image, part in zip(x.split(size), g.split(size)):
        patches = F.unfold(
            image.float(), conv.kernel_size, conv.dilation, conv.padding, conv.stride
        )
        # (B, groups, ., L)
        patches, part = (
            a.unflatten(1, (conv.groups, -1)) for a in (patches, part.float().flatten(2))
        )
        found.append(_product(patches, part, conv.bias))
    return torch.cat(found)


def _linear(linear, x, g):
    x, g = (a.float().reshape(len(a), 1, -1, a.shape[-1]).mT for a in (x, g))
    return _product(x, g, linear.bias)


def _product(inside, g, bias):
    """|| g inside^T ||^2 and, where there is a bias, || g 1 ||^2. inside (B, groups, K, L), g (B,
    groups, O, L). (B,).
    """
    (k, length), o = inside.shape[2:], g.shape[2]
    # = sum of (inside^T inside) * (g^T g), the smaller matrices where there are few positions
    if length * (k + o) < k * o:
        squared = ((inside.mT @ inside) * (g.mT @ g)).sum((1, 2, 3)).clamp_min(0)
    else:
        squared = (g @ inside.mT).square().sum((1, 2, 3))
    return squared if bias is None else squared + g.sum(-1).square().sum((1, 2))


def _batch_norm(norm, x, g):
    shape = (1, -1, *[1] * (x.ndim - 2))
    normed = (x.float() - norm.running_mean.view(shape)) * (
        norm.running_var + norm.eps
    ).rsqrt().view(shape)
    return sum((g.float() * factor).flatten(2).sum(2).square().sum(1) for factor in (normed, 1))


_RULES = {nn.Conv2d: _conv2d, nn.Linear: _linear, nn.BatchNorm2d: _batch_norm}


def try_one_image(net: nn.Module, x: torch.Tensor) -> tuple[list[nn.Module] | None, int]:
    """(the modules that hold parameters, or None if one is beyond the rules above; floats held for
    one image, roughly).
    """
    calls = []
    with _hooks(net.modules(), lambda module, args, output: calls.append((module, args, output))):
        net(x.requires_grad_().clone())
    floats = 4 * sum(output.numel() for _, _, output in calls if isinstance(output, torch.Tensor))
    owners = [
        module for module in net.modules() if any(True for _ in module.parameters(recurse=False))
    ]
    shared = len(list(net.parameters())) < len(list(net.named_parameters(remove_duplicate=False)))
    once = sorted(id(module) for module in owners) == sorted(
        id(module) for module, _, _ in calls if module in set(owners)
    )
    # an output without a gradient: the net computes a part of itself under no_grad
    known = (
        once
        and not shared
        and all(
            _has_rule(module, args) and output.requires_grad
            for module, args, output in calls
            if module in set(owners)
        )
    )
    return owners if known and _is_all(net, owners, x.detach()) else None, max(floats, x.numel())


def _is_all(net, modules, x):
    """Whether these modules' rules see the whole gradient of an image: a weight may also be used
    beside its module's call.
    """
    y = net(x).argmin(1)  # a label whose loss is not near 0
    parameters = {
        name: parameter.detach().requires_grad_() for name, parameter in net.named_parameters()
    }
    loss = F.cross_entropy(functional_call(net, parameters, (x,)).float(), y)
    gradients = torch.autograd.grad(loss, [*parameters.values()], allow_unused=True)
    own = {
        name: float(g.square().sum()) if g is not None else 0.0
        for name, g in zip(parameters, gradients, strict=True)
    }
    seen, largest = _squares(net, modules, x, y), max(own.values())
    for name, module in net.named_modules():
        if module in modules:
            whole = sum(
                own[f"{name}.{part}".lstrip(".")]
                for part, _ in module.named_parameters(recurse=False)
            )
            if abs(float(seen.get(module, 0.0)) - whole) > 1e-3 * whole + 1e-6 * largest:
                return False
    return True


def _has_rule(module, args):
    """Whether a call of this module is one that its rule is right for."""
    # weight norm has others
    plain = {name for name, _ in module.named_parameters(recurse=False)} <= {"weight", "bias"}
    # first, the batch, of one image
    if type(module) not in _RULES or not plain or len(args) != 1 or len(args[0]) != 1:
        return False
    if isinstance(module, nn.Conv2d):
        return module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return not isinstance(module, nn.BatchNorm2d) or module.running_mean is not None


@contextmanager
def _hooks(modules, note):
    handles = [module.register_forward_hook(note) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
