"""Networks with early exits: a classifier after some stages, so that easy images can stop there."""

import warnings
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dpkit.data.image_set import ImageSet
from dpkit.nets.early_leaving import check_threshold
from dpkit.nets.models import StagedNet, eval_mode, logits_in_float32
from dpkit.records.set_facts import channels, set_facts_of

_BATCH = 1024  # images of a set at a time


class EarlyExitNet(StagedNet):
    """A staged network with a linear classifier on the averaged features after some stages.

        net = EarlyExitNet(small_cnn(3, 10), after=(0, 1))
        for report in train(net, images, recipe, seed=0, loss=exit_loss()):
            ...
        snapshot = take_snapshot(net, images)       # probs (3, n, C)

    exits(x) is the list of logits (B, C), shallow to final; forward(x) is its last entry, and
    features(x) what the final head reads. Nothing but `leave_early` leaves early: while it trains
    and is looked at, every sample passes all exits. The heads' weights come from torch's global
    random state, as in any torch layer; make_net seeds it.

    Parameters
    ----------
    net : a StagedNet, whose weights are used.
    after : which stages, counted from 0; one exit each. The last stage has the network's own head,
        the final exit.

    Raises
    ------
    TypeError for a network whose stages are not known.
    ValueError for stages after which there can be no exit.

    References
    ----------
    Teerapittayanon et al., BranchyNet, 2016, with the least head there is, as ours: EEPrune does
    not give one.
    """

    def __init__(self, net: StagedNet, after: Sequence[int]) -> None:
        stages = getattr(net, "stages", None)
        if not isinstance(stages, nn.ModuleList) or not isinstance(
            getattr(net, "head", None), nn.Linear
        ):
            raise TypeError(
                "EarlyExitNet needs a staged network, to know where exits can be; got "
                f"{type(net).__name__}: list its layers as models.StagedNet([stage, stage, ...], "
                "head), each stage (B, c, H, W) -> (B, c', H', W'), the head a Linear over the "
                "last one's channels"
            )
        after = tuple(after)
        check_after(after, len(stages))
        super().__init__(stages, net.head)
        self.after = after
        self.made_for = set_facts_of(net)
        self.heads = nn.ModuleList(
            nn.Linear(width, net.head.out_features) for width in _widths(stages, after)
        )

    def features_and_exits(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """(features (B, d), a list of logits (B, C), shallow to final) of one pass."""

        found = []
        for k, stage in enumerate(self.stages):
            x = stage(x)
            if k in self.after:
                found.append(logits_in_float32(self.heads[self.after.index(k)], x.mean(dim=(2, 3))))
        h = x.mean(dim=(2, 3)).float()
        return h, [*found, logits_in_float32(self.head, h)]


def check_after(after: tuple, stages: int) -> None:
    """ValueError unless a network of so many stages can have early exits after these."""
    last = stages - 1
    if (
        not after
        or any(type(k) is not int or not 0 <= k < last for k in after)
        or sorted(set(after)) != list(after)
    ):
        raise ValueError(
            f"after must be stages of 0..{last - 1} in ascending order (stage {last} is the last "
            f"one and has the final exit already); got {after}"
        )


def exit_loss(weights: Sequence[float] | None = None) -> Callable:
    """The joint loss that `train` takes: a weighted mean over the exits of their cross-entropies.

        L = sum_k w_k CE_k / sum_k w_k,   k from the shallowest exit to the final one

    All weights are 1 unless given: EEPrune does not say. (Divided by their sum, so that the
    learning rate means what it means without exits.)

    Parameters
    ----------
    weights : one number >= 0 per exit, the final one included; None: all alike.

    Returns
    -------
    A function (net, x, y) -> (loss in nats, logits of the final exit).

    Raises
    ------
    ValueError when the weights do not fit the network.
    """
    if weights is not None:
        weights = tuple(weights)
        numbers = all(isinstance(weight, (int, float)) and weight >= 0 for weight in weights)
        if not weights or not numbers or not 0 < sum(weights) < float("inf"):
            raise ValueError(f"exit weights must be numbers from 0, and not all 0; got {weights}")

    def loss(net, x, y):
        exits = net.exits(x)
        own = (1.0,) * len(exits) if weights is None else weights
        if len(own) != len(exits):
            raise ValueError(
                f"exit weights must be one per exit, {len(exits)} for this network, the final "
                f"one's included; got {len(own)}"
            )
        total = sum(
            weight * F.cross_entropy(logits.float(), y)
            for weight, logits in zip(own, exits, strict=True)
        )
        return total / sum(own), exits[-1]

    return loss


def leave_early(
    net: EarlyExitNet, x: torch.Tensor | ImageSet, *, threshold: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Classify a batch, each sample only as deep as it needs.

    A sample leaves at the first exit that is surer than `threshold`, and does no more work: the
    stages behind see only those that stayed.

    Parameters
    ----------
    net : an EarlyExitNet in eval mode.
    x : (B, channels, H, W), normalised as for net(x); or a whole ImageSet, which is taken with the
        normalisation of the training set.
    threshold : of the largest softmax probability, in [0, 1).

    Returns
    -------
    (logits, exits): logits (B, C) of the exit where each left; exits (B,) int64, 0 the shallowest.
    Without gradients.

    Raises
    ------
    ValueError for another threshold or a network in training mode, whose batch norm would mix the
    samples.
    """
    check_threshold(threshold)
    if not isinstance(net, EarlyExitNet):
        raise TypeError(
            f"leave_early needs a network with exits; got {type(net).__name__}: wrap it before "
            "training, EarlyExitNet(net, after=(1,))"
        )
    if net.training:
        raise ValueError(
            "leave_early is for a network in eval mode, where a sample's answer is its own; call "
            "net.eval() first"
        )
    if isinstance(x, ImageSet):
        x = _aligned(x, net)
        parts = [
            leave_early(net, x.clean(slice(start, start + _BATCH)), threshold=threshold)
            for start in range(0, len(x), _BATCH)
        ]
        logits, where = (torch.cat(part) for part in zip(*parts, strict=True))
        return logits, where
    known = set_facts_of(net)
    if known is not None and x.shape[1] != len(known.mean):
        raise ValueError(
            f"leave_early needs images of {channels(len(known.mean))}, as the network was made "
            f"for; got {x.shape[1]}: convert them"
        )
    with torch.no_grad():
        logits = torch.empty(len(x), net.head.out_features, device=x.device)
        where = torch.full((len(x),), len(net.after), device=x.device)
        rows = torch.arange(len(x), device=x.device)
        for k, stage in enumerate(net.stages):
            x = stage(x)
            if k in net.after and len(rows):
                number = net.after.index(k)
                out = logits_in_float32(net.heads[number], x.mean(dim=(2, 3)))
                sure = out.softmax(-1).amax(-1) > threshold
                stay = (~sure).nonzero()[:, 0]
                if len(stay) < len(rows):  # else there is nothing to move
                    logits[rows[sure]], where[rows[sure]] = out[sure], number
                    x, rows = _rows(x, stay), rows[stay]
            if not len(rows):
                return logits, where
        logits[rows] = logits_in_float32(net.head, x.mean(dim=(2, 3)))
    return logits, where


def _aligned(images, net):
    """The set as the network saw its own; warns where labels and logits have other numbers."""
    aligned = images.aligned(set_facts_of(net), "leave_early")
    if not torch.equal(aligned.labels, images.labels):
        warnings.warn(
            "the logits of leave_early are numbered by the network's classes, and the labels of "
            f"{images.name} by its own: compare them with those of images.aligned(net.made_for, "
            '"leave_early")',
            stacklevel=3,
        )
    return aligned


def _rows(x, stay):
    """x[stay], each sample copied as the block of memory it is: 3 to 10 times as fast, channels
    last or first.
    """
    if x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1).index_select(0, stay).permute(0, 3, 1, 2)
    return x.index_select(0, stay)


def exit_flops(net: EarlyExitNet, shape: Sequence[int]) -> list[int]:
    """Floating-point operations of one image that leaves at each exit, shallow to final.

    The exits that it passed are included. Counted by torch's own counter on one image: convolutions
    and matrix products, a multiplication and an addition each.

    Parameters
    ----------
    net : with exits.
    shape : (channels, H, W) of an image.

    Returns
    -------
    One count per exit.
    """
    device = next(net.parameters()).device
    x, after, counted, spent = (
        torch.zeros(1, *shape, device=device),
        getattr(net, "after", ()),
        [],
        0,
    )
    with eval_mode(net), torch.no_grad():
        for k, stage in enumerate(net.stages):
            with FlopCounterMode(display=False) as counter:
                x = stage(x)
            spent += counter.get_total_flops()
            if k in after or k == len(net.stages) - 1:
                with FlopCounterMode(display=False) as counter:
                    (net.heads[after.index(k)] if k in after else net.head)(x.mean(dim=(2, 3)))
                spent += counter.get_total_flops()
                counted.append(spent)
    return counted


def _widths(stages: nn.ModuleList, after: Sequence[int]) -> list[int]:
    """Channels that come out of these stages, seen by sending a black image through them."""
    first = next(layer for layer in stages.modules() if isinstance(layer, nn.Conv2d))
    found = []
    with eval_mode(stages), torch.no_grad():
        x = torch.zeros(1, first.in_channels, 32, 32, device=first.weight.device)
        for k, stage in enumerate(stages):
            x = stage(x)
            if k in after:
                found.append(x.shape[1])
    return found
