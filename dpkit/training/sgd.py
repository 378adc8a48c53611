"""torch's SGD, for processes that compile nothing."""

from inspect import unwrap

import torch


class SGD(torch.optim.SGD):
    """torch.optim.SGD, number for number, without what keeps torch.compile out of its methods: that
    alone loads torch's compiler, which takes 1.5 s of every process that trains.
    """

    add_param_group = unwrap(torch.optim.SGD.add_param_group)
    load_state_dict = unwrap(torch.optim.SGD.load_state_dict)
    state_dict = unwrap(torch.optim.SGD.state_dict)
    zero_grad = unwrap(torch.optim.SGD.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.SGD.step))
