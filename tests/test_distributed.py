"""One training in two real processes: every sample once, one record, the numbers of one process,
and an end that is told.
"""

import inspect
import json
import os
import pickle
import re
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dpkit.data.image_set import auto_device, load
from dpkit.nets.models import StagedNet
from dpkit.training import processes
from dpkit.training.loop import Recipe, train
from dpkit.training.recorder import Recorder

ROOT = Path(__file__).parents[1]
N = 201  # odd: the two shares of a batch differ
RECIPE = Recipe(budget="steps", steps=10, batch_size=64, lr=0.05)  # the third epoch is cut short

PAGE = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
TRAIN = re.search(r"```python\n# train.py\n(.*?)```", PAGE, re.DOTALL)[1]


def torchrun(folder, code, *arguments):
    """(exit code, output, seconds) of a script run in two processes, which talk to each other over
    loopback.
    """
    script = folder / "script.py"
    script.write_text(code)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TMPDIR": str(folder),  # torchrun leaves a folder there
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
    }
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local-addr",
        "127.0.0.1",
        "--nproc-per-node",
        "2",
        str(script),
        *map(str, arguments),
    ]
    begun = time.monotonic()
    run = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = run.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        run.terminate()  # it ends its processes, which have sessions of their own
        run.communicate(timeout=60)
        raise
    return run.returncode, output, time.monotonic() - begun


# ---- two processes that live ---------------------------------------------------------------------


def net_for(images, seed=0):
    """A network without batch norm, which would see other batches in two processes than in one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return StagedNet(
            [nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())],
            nn.Linear(8, images.num_classes),
        )


def of_exits(net, x, y):
    """A loss that never calls net(x)."""
    logits = net.exits(x)[-1]
    return nn.functional.cross_entropy(logits, y), logits


def record_of_own_loop(share, restarted=False):
    """Two epochs of made-up logits, recorded in three batches each; `share` gives this process's
    part of a batch. restarted: saved after the first, and read by another Recorder.
    """
    rng, recorder = np.random.default_rng(0), Recorder(N, 2, tdds=True)
    labels = rng.integers(0, 4, N)
    for epoch in range(2):
        logits = rng.normal(size=(N, 4)).astype(np.float32)
        for batch in np.array_split(rng.permutation(N), 3):
            part = share(batch)
            recorder.update(
                epoch, *(torch.from_numpy(values) for values in (part, logits[part], labels[part]))
            )
        if restarted and epoch == 0:
            recorder.epoch(0)
            state, recorder = recorder.state_dict(), Recorder(N, 2, tdds=True)
            recorder.load_state_dict(state)
    return recorder.dynamics()


SCRIPT = (
    """
import os, pickle, sys
import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from dpkit import Recipe, Recorder, make_net, storage
from dpkit.models import StagedNet
from dpkit.recorder import indexed
from dpkit.training import loop, train

"""
    + f"N, RECIPE = {N}, {RECIPE!r}\n"
    + "\n".join(map(inspect.getsource, (net_for, of_exits, record_of_own_loop)))
    + """
def state_of(net):
    return {name: value.numpy().copy() for name, value in net.state_dict().items()}

dist.init_process_group()
rank, world = dist.get_rank(), dist.get_world_size()
digits = pickle.load(open("digits", "rb"))  # not from scikit-learn: that takes a second to import
images, found = digits.first(N), {}

def run(net, *arguments, **settings):
    return [(vars(report), state_of(net)) for report in train(net, *arguments, **settings)]

# with a log of what this process was shown
update, found["log"] = Recorder.update, []
def logging(self, epoch, index, logits, labels):
    found["log"].append(index.tolist())
    update(self, epoch, index, logits, labels)
loop.Recorder.update = logging
found["plain"] = run(net_for(images, seed=rank), images, RECIPE, seed=1, loss=of_exits, tdds=True)  # process 0's weights count
loop.Recorder.update = update

def dropped_out(net, x, y):
    found.setdefault("masks", nn.functional.dropout(torch.ones(20)).tolist())
    return loop.cross_entropy(net, x, y)

found["small_cnn"] = run(make_net("small_cnn", digits, seed=0), digits, Recipe(epochs=10), seed=0, loss=dropped_out)
found["own"] = vars(record_of_own_loop(lambda batch: batch[rank::world]))
found["restarted"] = vars(record_of_own_loop(lambda batch: batch[rank::world], restarted=True))

def padded():
    items = indexed(TensorDataset(torch.zeros(N, 3), torch.zeros(N, dtype=torch.long)))
    recorder = Recorder(N, 1)
    for index, (x, y) in DataLoader(items, batch_size=20, sampler=DistributedSampler(items)):
        recorder.update(0, index, x, y)
    recorder.dynamics()

def saved_within(several):
    recorder = Recorder(4)
    if several:
        recorder.update(0, torch.tensor([rank]), torch.zeros(1, 2), torch.tensor([0]))
        recorder.state_dict()
    recorder.load_state_dict(torch.load(sys.argv[2], weights_only=True))

def given(index=(0, 1), labels=(0, 1), logits=((0.0, 1.0), (1.0, 0.0)), epoch=0, n=4, expect=None):
    # process 0 is shown samples 2 and 3; process 1 these
    recorder = Recorder(n, 2, index=expect) if rank else Recorder(4, 2)
    index, labels, logits, epoch = (index, labels, logits, epoch) if rank else ((2, 3), (0, 1), ((0.0, 1.0), (1.0, 0.0)), 0)
    recorder.update(epoch, torch.tensor(index), torch.tensor(logits), torch.tensor(labels))
    recorder.epoch(epoch)

def lost_in_process_1(net, x, y):
    value, logits = loop.cross_entropy(net, x, y)
    return (value * torch.nan if rank else value), logits

def unwritable(path):
    raise OSError(28, "No space left on device")

def full_disk():
    whole_file = storage.whole_file
    try:
        for _ in train(net_for(images), images, RECIPE, seed=1, checkpoint="full"):
            storage.whole_file = unwritable if rank == 0 else whole_file
    finally:
        storage.whole_file = whole_file

def other_disk():
    recipe = Recipe(epochs=1)
    list(train(net_for(images), images, recipe, seed=1, checkpoint="shared"))
    os.makedirs(f"disk_{rank}")
    os.chdir("." if rank == 0 else "disk_1")
    try:
        next(train(net_for(images), images, recipe, seed=1, checkpoint="shared"))
    finally:
        os.chdir("." if rank == 0 else "..")

def half_used():
    net = net_for(images)
    net.extra = nn.Linear(2, 2)
    return net

def starting(net=None, recipe=RECIPE, **others):
    return lambda: next(train(net or net_for(images), images, recipe, **({"seed": 1} | others)))

def told(run):
    try:
        run()
    except Exception as error:
        return type(error).__name__, str(error)

found["told"] = {name: told(run) for name, run in {
    "padded": padded, "nothing": given, "labels": lambda: given(labels=(0, 7)), "index": lambda: given(index=(0, 9)),
    "floats": lambda: given(labels=(0.0, 1.0)), "nan": lambda: given(logits=((0.0, 1.0), (torch.nan, 0.0))),
    "twice": lambda: given(index=(1, 2)), "never": lambda: given(index=(1,), labels=(0,), logits=((0.0, 1.0),)),
    "epoch": lambda: given(epoch=1), "n": lambda: given(n=5), "expected": lambda: given(expect=[0, 1]),
    "loss": starting(loss=lost_in_process_1), "seed": starting(seed=rank), "record": starting(record=rank == 0),
    "tdds": starting(tdds=rank == 0),
    "saved": lambda: saved_within(True), "loaded": lambda: saved_within(False),
    "folder": starting(checkpoint="here" if rank else None), "small": starting(recipe=Recipe(batch_size=3)),
    "alone": starting(checkpoint=sys.argv[1]), "disk": full_disk, "disks": other_disk, "idle": starting(half_used()),
}.items()}
with open(f"found_{rank}", "wb") as file:
    pickle.dump(found, file)
dist.destroy_process_group()
"""  # noqa: E501
)


@pytest.fixture(scope="module")
def digits():
    return load("digits", device="cpu")


@pytest.fixture(scope="module")
def small(digits):
    return digits.first(N)


@pytest.fixture(scope="module")
def both(tmp_path_factory, digits, small):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("both")
    list(train(net_for(small), small, RECIPE, seed=1, checkpoint=folder / "alone"))
    (folder / "digits").write_bytes(pickle.dumps(digits))
    recorder = Recorder(4)
    recorder.update(0, [0, 1], torch.zeros(2, 2), [0, 1])
    torch.save(recorder.state_dict(), folder / "within")
    code, output, _ = torchrun(folder, SCRIPT, folder / "alone", folder / "within")
    assert code == 0, output
    return [pickle.loads((folder / f"found_{rank}").read_bytes()) for rank in range(2)]


def equal(some, others):
    """Equal to the last bit, the seconds apart."""
    assert some.keys() == others.keys()
    for name in some.keys() - {"seconds"}:
        np.testing.assert_array_equal(some[name], others[name], err_msg=name)
    return True


def test_every_sample_is_shown_to_one_process_once_an_epoch(both):
    logs = [found["log"] for found in both]
    sizes = [[len(ids) for ids in log] for log in logs]
    assert sizes == [[26, 25, 25, 25, 26, 25, 25, 25, 26, 25], [25] * 10]
    for epoch in range(2):
        shown = [i for log in logs for ids in log[4 * epoch : 4 * epoch + 4] for i in ids]
        assert sorted(shown) == list(range(N))
    assert logs[0][:4] != logs[0][4:8]


@pytest.mark.parametrize("name", ["plain", "small_cnn"])
def test_both_processes_report_the_same_and_hold_the_same_network(both, name):
    for (report, state), (other, others_state) in zip(both[0][name], both[1][name], strict=True):
        # batch norm's running statistics too
        assert equal(report, other) and equal(state, others_state)


def test_two_processes_learn_and_record_what_one_does(both, small):
    net = net_for(small)
    trained = train(net, small, RECIPE, seed=1, loss=of_exits, tdds=True)
    for alone, (report, state) in zip(trained, both[0]["plain"], strict=True):
        for name in ("loss", "target_prob", "margin", "divergence"):
            np.testing.assert_allclose(report[name], getattr(alone, name), rtol=1e-4, atol=1e-5)
        assert (report["correct"] != alone.correct).sum() <= 1  # a tie may be broken by rounding
        assert (report["epoch"], report["lr"], report["steps"]) == (
            alone.epoch,
            alone.lr,
            alone.steps,
        )
        for name, value in net.state_dict().items():
            np.testing.assert_allclose(state[name], value, rtol=1e-4, atol=1e-5)


def test_dropout_draws_for_each_share(both):
    assert both[0]["masks"] != both[1]["masks"]


def test_a_loop_of_ones_own_is_merged_into_the_record_of_one_process(both):
    alone = vars(record_of_own_loop(lambda batch: batch))
    for found in both:
        for name in ("target_prob", "margin", "correct", "labels", "divergence"):
            np.testing.assert_array_equal(found["own"][name], alone[name])
            np.testing.assert_array_equal(found["restarted"][name], alone[name])


@pytest.mark.parametrize(
    "name, kind, sentence",
    [
        (
            "padded",
            "ValueError",
            r"1 were seen more often than expected \(first: id \d+\): .*DistributedSampler pads "
            r"with "
            r"repeated samples: let process r take order\[r::world\]",
        ),
        (
            "labels",
            "ValueError",
            r"labels must be in 0\.\.1 .*; got 0\.\.7 \(in process 1 of 2, epoch 0\)",
        ),
        (
            "index",
            "ValueError",
            r"index must be original ids in 0\.\.3; got 0\.\.9 \(in process 1 of 2, epoch 0\)",
        ),
        (
            "floats",
            "ValueError",
            r"labels must be \(2,\) whole numbers.*float32.*\(in process 1 of 2, epoch 0\)",
        ),
        (
            "nan",
            "ValueError",
            r"1 samples got logits that are not numbers in epoch 0 \(first: id 1\)",
        ),
        ("twice", "ValueError", r"1 were seen more often than expected \(first: id 2\)"),
        ("never", "ValueError", r"1 were seen never \(first: id 0\)"),
        (
            "epoch",
            "ValueError",
            r"recorded in order; got epoch 1 after 0 epochs: .*\(in process 1 of 2",
        ),
        (
            "saved",
            "ValueError",
            r"close it before state_dict\(\): call epoch\(0\) on every process",
        ),
        ("loaded", "ValueError", r"saved within epoch 0 by one process, and this training has"),
        (
            "n",
            "ValueError",
            r"every process must make the same Recorder .* process 1 differs from process 0 in "
            r"epoch 0",
        ),
        ("expected", "ValueError", r"every process must make the same Recorder"),
        ("loss", "FloatingPointError", r"the loss became nan in epoch 0"),
        (
            "seed",
            "ValueError",
            r"need the same arguments; they differ in seed: give each the whole set",
        ),
        ("tdds", "ValueError", r"they differ in tdds"),
        ("record", "ValueError", r"they differ in record"),
        ("folder", "ValueError", r"they differ in checkpoint"),
        (
            "small",
            "ValueError",
            r"2 processes need batches of at least 4 samples, 2 for each; the smallest has 3: "
            r"use a larger",
        ),
        (
            "alone",
            "ValueError",
            r"holds the checkpoint of a training by 1 processes, and this one has 2, .*: start "
            r"1, name",
        ),
        ("disk", "(OS|Runtime)Error", "No space left on device"),
        (
            "disks",
            "ValueError",
            r"the processes see different checkpoints in shared \(\[1, 0\] epochs\): name a "
            r"folder that all",
        ),
        (
            "idle",
            "ValueError",
            r"the loss must reach every parameter; 2 got no gradient \(first: extra.weight\)",
        ),
    ],
    ids=lambda value: value if value.isalnum() else "",
)
def test_what_goes_wrong_in_one_process_is_told_in_both(both, name, kind, sentence):
    for found in both:
        assert re.fullmatch(kind, found["told"][name][0]) and re.search(
            sentence, found["told"][name][1]
        ), found["told"][name]


def test_where_nothing_is_wrong_nothing_is_told_and_who_failed_keeps_its_own_error(both):
    assert both[0]["told"]["nothing"] is both[1]["told"]["nothing"] is None
    assert [found["told"]["disk"][0] for found in both] == ["OSError", "RuntimeError"]


# ---- a process that dies -------------------------------------------------------------------------

BEFORE = """
import os, signal, sys
from torch.distributed import get_rank
from torch.optim.optimizer import register_optimizer_step_post_hook
from dpkit.training import checkpoint, loop

checkpoint.WRITE_EVERY = 0.0
steps = []
register_optimizer_step_post_hook(lambda *arguments: steps.append(1))
def deadly(net, x, y):
    if len(steps) == int(sys.argv[1]) and get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return loop.cross_entropy(net, x, y)
loop.train.__kwdefaults__["loss"] = deadly
"""
AFTER = """
open(f"steps_{os.environ['RANK']}", "w").write(str(len(steps)))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder where process 1 was killed in the third batch of epoch 3 of the page's script; the
    code, the output, seconds.
    """
    folder = tmp_path_factory.mktemp("killed")
    return folder, *torchrun(folder, BEFORE + TRAIN + AFTER, 3 * 11 + 2)


def test_a_killed_process_ends_the_training_within_seconds_and_the_other_says_so(killed):
    folder, code, output, seconds = killed
    assert code != 0
    assert (
        "another process of this training ended (rank unknown; its own message says why): start "
        "the same command again, "
        "it goes on from the checkpoint if it has one" in output
    ), output
    assert re.search(r"rank +: 1 .*\n *exitcode +: -9", output), output
    # torchrun's own summary is not the last thing that is read
    assert output.splitlines()[-1].startswith("dpkit: another process of this training ended")
    assert (
        re.findall(r"epoch (\d+):", output) == ["0", "1", "2"] and not (folder / "steps_0").exists()
    )
    assert seconds < 120  # by default gloo would wait for half an hour


def test_the_same_command_goes_on_to_the_undisturbed_numbers(killed, both):
    folder = killed[0]
    assert json.loads((folder / "run" / "training.json").read_text())["world_size"] == 2
    code, output, _ = torchrun(folder, BEFORE + TRAIN + AFTER, -1)
    assert code == 0, output
    assert re.findall(r"epoch (\d+):", output) == [str(epoch) for epoch in range(10)], output
    # three epochs were not run again
    assert [(folder / f"steps_{rank}").read_text() for rank in range(2)] == [str(7 * 11)] * 2
    undisturbed = both[0]["small_cnn"]
    for epoch, (report, _) in enumerate(undisturbed):
        with np.load(folder / "run" / f"epoch_{epoch:03d}.npz") as file:
            kept = {name: file[name] for name in file.files}
        assert equal(json.loads(str(kept.pop("scalars"))) | kept, report)
    final = torch.load(folder / "run" / "state.pt", weights_only=True)
    assert final["epochs"] == 10 and equal(
        {name: value.numpy() for name, value in final["net"].items()}, undisturbed[-1][1]
    )
    assert (folder / "record").is_dir()


# ---- one process ---------------------------------------------------------------------------------


def test_one_process_does_not_go_on_from_a_checkpoint_of_two(tmp_path, small):
    list(islice(train(net_for(small), small, RECIPE, seed=1, checkpoint=tmp_path / "c"), 3))
    file = tmp_path / "c" / "training.json"
    assert "world_size" not in file.read_text()  # as in checkpoints made before there could be more
    file.write_text(json.dumps(json.loads(file.read_text()) | {"world_size": 2}))
    with pytest.raises(
        ValueError,
        match="c holds the checkpoint of a training by 2 processes, and this one has 1, which "
        "gives "
        "other numbers: start 2, name another folder or remove it",
    ):
        next(train(net_for(small), small, RECIPE, seed=1, checkpoint=tmp_path / "c"))


def test_a_group_of_one_process_exchanges_nothing(tmp_path, small, monkeypatch):
    expected = list(train(net_for(small), small, RECIPE, seed=1))
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        for name in ("all_reduce", "all_gather_object", "broadcast", "barrier"):
            monkeypatch.setattr(torch.distributed, name, None)
        monkeypatch.setattr(processes, "DistributedDataParallel", None)
        found = list(train(net_for(small), small, RECIPE, seed=1, checkpoint=tmp_path / "c"))
        alone = record_of_own_loop(lambda batch: batch)
        # at once, as there is nobody to wait for
        with pytest.raises(ValueError, match="labels must be in"):
            Recorder(2, 1).update(0, torch.arange(2), torch.zeros(2, 3), torch.tensor([0, 3]))
    finally:
        torch.distributed.destroy_process_group()
    assert (
        all(equal(vars(one), vars(other)) for one, other in zip(found, expected, strict=True))
        and alone.num_samples == N
    )


def test_auto_is_the_gpu_of_this_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_90"])
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert auto_device() == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert auto_device() == torch.device("cuda:1") and auto_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(
        ValueError,
        match="process 2 of this machine has no GPU of its own, as torch finds 2: start as many",
    ):
        auto_device()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert auto_device() == torch.device("cpu")
