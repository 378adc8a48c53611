"""The processes of one training: `SingleProcess`, or `ProcessGroup` under torch.distributed.

All that differs between one process and several sits here: loop, recorder and checkpoint ask the
same object. What it exchanges, every process asks for at the same points.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dpkit.training._last_word import say_after_torchrun
from dpkit.training.faults import gpu_is_lost, memory_ran_out
from dpkit.training.recipe import Recipe
from dpkit.training.seeds import epoch_seed, reseed

PROCESS_LOST = (
    "another process of this training ended (rank unknown; its own message says why): start the "
    "same command again, it goes on from the checkpoint if it has one"
)


def processes(device: torch.device) -> "SingleProcess | ProcessGroup":
    """The processes that train together now, this one among them; its tensors are on `device`."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return SingleProcess()
    return ProcessGroup(device) if distributed.get_world_size() > 1 else SingleProcess()


class SingleProcess:
    """One process: nothing is exchanged, and every answer is its own."""

    rank, world_size = 0, 1

    def gather(self, value: Any) -> list:
        return [value]

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def raise_on_all(self) -> AbstractContextManager:
        return nullcontext()

    def training(self) -> AbstractContextManager:
        return nullcontext()

    def hold(self, error: Exception) -> None:
        raise error

    def check_alike(self, arguments: dict) -> None:
        pass

    def check_batches(self, smallest: int, recipe: Recipe) -> None:
        pass

    def step(self, loss: Callable, net: nn.Module) -> Callable:
        return partial(loss, net)

    def draw_own(self, seed: int, epoch: int) -> None:
        pass

    def check_reached(self, net: nn.Module) -> None:
        pass

    def share_buffers(self, net: nn.Module) -> None:
        pass


class ProcessGroup:
    """One of several processes. Numbers are the same bits on each."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank = torch.distributed.get_rank()
        self.world_size = torch.distributed.get_world_size()

    # ---- exchange ----

    def gather(self, value: Any) -> list:
        """Every process's `value` (plain Python), by rank."""
        found = [None] * self.world_size
        on_gpu = self.device.type == "cuda"
        # nccl goes by way of the current GPU
        with explain_lost_process(), torch.cuda.device(self.device) if on_gpu else nullcontext():
            torch.distributed.all_gather_object(found, value)
        return found

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of every process's `tensor`: with nccl alone by way of the GPU, else of the
        CPU.
        """
        on_gpu = torch.distributed.get_backend() == "nccl"
        carried = tensor.clone() if on_gpu else tensor.cpu().clone()
        with explain_lost_process():
            torch.distributed.all_reduce(carried)
        return carried.to(tensor.device)

    # ---- errors ----

    @contextmanager
    def raise_on_all(self) -> Iterator[None]:
        """What one process raises inside is raised on all of them, and nobody leaves before all
        have come to the end. Inside, nothing may wait for another process.
        """
        mine = None
        try:
            yield
        except Exception as error:
            mine = error
        told = self.gather(
            mine and (isinstance(mine, ValueError), str(mine) or type(mine).__name__)
        )
        if mine:
            raise mine
        for refused, sentence in filter(None, told):
            raise (ValueError if refused else RuntimeError)(sentence)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Whoever ends while another process still trains leaves that one a sentence to say, not
        half an hour of waiting.
        """
        catch = (
            self.device.type == "cpu"
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        )
        # torchrun ends the others within 0.1 s, often before they have noticed. On a GPU the wait
        # would hold this up
        if catch:
            signal.signal(signal.SIGTERM, _say_why)
        try:
            with explain_lost_process():
                yield
        except RuntimeError:
            catch = False  # torchrun may be faster than the traceback
            raise
        finally:
            if catch:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def hold(self, error: Exception) -> str:
        """What to tell all when they next exchange: if this one stopped now, they would wait."""
        return str(error)

    # ---- a training ----

    def check_alike(self, arguments: dict) -> None:
        """ValueError in all processes if they were not given one training."""
        everyone = self.gather(arguments)
        differing = [
            name for name in arguments if any(one[name] != everyone[0][name] for one in everyone)
        ]
        if differing:
            raise ValueError(
                "the processes of one training need the same arguments; they differ in "
                f"{', '.join(differing)}: give each the whole set, train splits every batch"
            )

    def check_batches(self, smallest: int, recipe: Recipe) -> None:
        """ValueError if a share of the smallest batch would be a single sample, or for a recipe
        that is for one process.
        """
        if smallest < 2 * self.world_size:
            raise ValueError(
                f"{self.world_size} processes need batches of at least {2 * self.world_size} "
                f"samples, 2 for each; the smallest has {smallest}: use a larger batch_size, a "
                "larger set or fewer processes"
            )
        if recipe.compile:
            raise ValueError(
                "compile=True is for one process; this training has several: leave it out"
            )

    def step(self, loss: Callable, net: nn.Module) -> Callable:
        """(x, y) -> (loss, logits), whose gradients are means over all processes.

        Made anew in every epoch: it sums in another order once it has seen a step, and a restart
        has seen none.
        """
        return DistributedDataParallel(_Step(net, loss))

    def draw_own(self, seed: int, epoch: int) -> None:
        """From here dropout draws for each share its own."""
        reseed(epoch_seed(seed, epoch, 1 + self.rank), self.device)

    def check_reached(self, net: nn.Module) -> None:
        """ValueError if a parameter got no gradient: then none was summed over the processes."""
        idle = [
            name
            for name, value in net.named_parameters()
            if value.requires_grad and value.grad is None
        ]
        if idle:
            raise ValueError(
                f"over several processes the loss must reach every parameter; {len(idle)} got no "
                f"gradient (first: {idle[0]}): use them, or freeze them with requires_grad_(False)"
            )

    def share_buffers(self, net: nn.Module) -> None:
        """Process 0's buffers, such as running statistics of batch norm, become everyone's."""
        for buffer in net.buffers():
            torch.distributed.broadcast(buffer, 0)


class _Step(torch.nn.Module):
    """loss(net, x, y) as a forward pass, so that its calls go by DistributedDataParallel."""

    def __init__(self, net, loss):
        super().__init__()
        self.net, self.loss = net, loss

    def forward(self, x, y):
        return self.loss(self.net, x, y)


@contextmanager
def explain_lost_process(hint: str = "") -> Iterator[None]:
    """Say in one sentence what torch raises inside when another process has ended."""
    try:
        yield
    except RuntimeError as error:
        lost = _is_of_exchange(error)
        if not lost and not (hint and str(error) == PROCESS_LOST):
            raise
        if lost:
            say_after_torchrun(f"dpkit: {PROCESS_LOST}")
        raise RuntimeError(PROCESS_LOST + hint) from (error if lost else error.__cause__)


def _is_of_exchange(error):
    """Whether it is of the exchange with other processes: gloo's and nccl's come as plain
    RuntimeErrors, too. "invalid usage" is nccl's word for what this process did.
    """
    text = str(error)
    ours = "invalid usage" in text or "InvalidUsage" in text
    ours = ours or memory_ran_out(error) or gpu_is_lost(error)
    of_nccl = "NCCL" in text or "nccl" in text
    return not ours and (
        isinstance(error, torch.distributed.DistError) or "/gloo/" in text or of_nccl
    )


def _say_why(number, frame):
    sentence = f"dpkit: ended by SIGTERM, which is how torchrun ends a training when {PROCESS_LOST}"
    os.write(2, f"{sentence}\n".encode())
    say_after_torchrun(f"dpkit: {PROCESS_LOST}")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
