"""What goes wrong on GPUs, with stand-ins for the GPU and for its errors: no GPU is needed."""

import re
import threading
import warnings

import numpy as np
import pytest
import torch

import dpkit
from dpkit import cli
from dpkit.data.devices import auto_device
from dpkit.data.loading import from_arrays
from dpkit.experiments import clusters, pruning, stages, sweep_worker
from dpkit.experiments.environment import compute_environment
from dpkit.experiments.parcels import pack
from dpkit.experiments.trials import Trial
from dpkit.storage import identity
from dpkit.training import checkpoint
from dpkit.training.batches import DeferredChecks
from dpkit.training.faults import gpu_is_lost, memory_ran_out
from dpkit.training.inference import autocast, full_float32
from dpkit.training.loop import Recipe, train
from dpkit.training.processes import PROCESS_LOST, explain_lost_process

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 8 GiB"),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    MemoryError("Unable to allocate 3.00 GiB for an array"),
]
LOST = [
    torch.AcceleratorError("CUDA error: device-side assert triggered\nCompile with TORCH_USE"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
]
OTHERS = [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("CUDA error")]


@pytest.fixture
def gpus(monkeypatch):
    """gpus(count, capability, built, usable): as torch would say of GPUs that are not here."""

    def stand_in(count=1, capability=(8, 6), built=("sm_80", "sm_90"), usable=True):
        identity.warn_once.cache_clear()
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        says = {
            "is_available": lambda: usable,
            "device_count": lambda: count,
            "get_device_capability": lambda device=None: capability,
            "get_arch_list": lambda: list(built),
            "get_device_name": lambda device=None: "Stand-in 3000",
            "is_bf16_supported": lambda including_emulation=True: capability >= (8, 0),
        }
        for name, function in says.items():
            monkeypatch.setattr(torch.cuda, name, function)

    return stand_in


# ---- which device --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "capability, built, runs",
    [
        ((8, 6), ["sm_80", "sm_90"], True),
        ((7, 0), ["sm_75", "sm_80"], False),
        ((12, 0), ["sm_80", "sm_90"], False),
        ((12, 0), ["sm_80", "compute_90"], True),
        ((8, 0), ["sm_86"], False),
        ((10, 0), ["sm_90a", "sm_100"], True),
        ((9, 1), ["sm_90a"], False),
        ((9, 0), ["gfx90a", "gfx942"], True),
        ((9, 0), [], True),
    ],
)
def test_auto_takes_a_gpu_only_if_torch_has_code_for_it(gpus, capability, built, runs):
    gpus(capability=capability, built=built)
    if runs:
        assert auto_device() == auto_device("cuda") == torch.device("cuda")
        return
    with pytest.warns(UserWarning, match="built for.*Install a torch that is.*the CPU is used"):
        assert auto_device() == torch.device("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        auto_device()  # said once
    with pytest.raises(ValueError, match="Stand-in 3000 has compute capability .*Install a torch"):
        auto_device("cuda")


def test_a_driver_that_is_too_old_is_told_once_with_the_cure_and_the_cpu_taken(gpus):
    gpus(usable=False)
    with pytest.warns(UserWarning, match="Update the driver, or install a torch for.*the CPU is"):
        assert auto_device() == torch.device("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert auto_device() == auto_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="Update the driver.*got 'cuda'"):
        auto_device("cuda")


def test_without_a_gpu_the_cpu_is_taken_in_silence(gpus):
    gpus(count=0, usable=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert auto_device() == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:7", "cuda:1"])
def test_a_gpu_number_that_is_not_there_is_refused(gpus, name):
    gpus(count=1)
    with pytest.raises(ValueError, match=rf"cuda:0 to cuda:0, or .*got '{name}'"):
        auto_device(name)
    assert auto_device("cuda:0") == torch.device("cuda:0")


# ---- sweeps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "device, visible, seen",
    [
        ("auto", None, ["0", "1"]),
        ("cuda:1", None, ["1"]),
        ("cuda:1", "4,6", ["6"]),
        ("cuda", "GPU-ab", ["GPU-ab"]),
        ("cpu", None, [None, None]),
    ],
)
def test_a_local_cluster_takes_the_gpu_that_was_named(gpus, monkeypatch, device, visible, seen):
    gpus(count=len(visible.split(",")) if visible else 2)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    made = []

    class Cluster:
        def __init__(self, workers, **more):
            made.append(workers)

    monkeypatch.setattr("distributed.deploy.spec.SpecCluster", Cluster)
    clusters.local_cluster(device=device, workers=None if device != "cpu" else 2)
    [workers] = made
    assert [w["options"]["env"].get("CUDA_VISIBLE_DEVICES") for w in workers.values()] == seen
    # whichever it is, a worker sees it alone, as its first
    assert clusters.worker_device("cuda:1") == clusters.worker_device("cuda") == "cuda"
    assert clusters.worker_device("auto") == "auto" and clusters.worker_device("cpu") == "cpu"


def test_the_parent_of_a_sweep_puts_nothing_on_a_gpu_and_knows_what_the_worker_will_find(gpus):
    gpus()
    pixels = np.random.default_rng(0).integers(0, 256, (30, 16, 16), np.uint8)
    images = from_arrays(pixels, np.arange(30) % 3, device="cpu")
    # on this machine anything on the stand-in would fail
    facts = sweep_worker.facts_of(images, 0, images, "cuda")
    assert facts["images"] == images.fingerprint
    assert facts["around"]["auto"] == {
        "device": "cuda",
        "processor": "Stand-in 3000",
        "precision": "bf16",
        "torch": facts["around"]["fp32"]["torch"],
    }


@pytest.mark.parametrize("error", OUT_OF_MEMORY + LOST)
def test_a_trial_that_the_machine_failed_is_tried_again(error):
    failure = sweep_worker.failure(error)
    assert failure.transient and "\n" not in failure.reason
    assert gpu_is_lost(error) != memory_ran_out(error)
    assert failure.reason.startswith("the GPU failed: ") == gpu_is_lost(error)


@pytest.mark.parametrize("error", OTHERS)
def test_other_errors_are_neither(error):
    assert not (gpu_is_lost(error) or memory_ran_out(error))
    assert sweep_worker.failure(error).transient != isinstance(error, ValueError)


def test_trainings_of_one_worker_run_in_one_thread(monkeypatch, tmp_path):
    """torch.compile's graphs belong to the thread that made them."""
    threads = []

    def noted(*arguments):
        threads.append(threading.get_ident())
        raise ValueError("enough")

    monkeypatch.setattr(stages, "load_sets", noted)
    recipe = Recipe(epochs=12, batch_size=30)
    one = {"seed": 0, "record": recipe, "record_epochs": 10, "retrain": recipe}
    parcel = pack(Trial(dataset="digits", method="dual", prune_ratio=0.5, **one))
    callers = [
        threading.Thread(
            target=sweep_worker.run_stage, args=("record", parcel, None, tmp_path, "cpu", {})
        )
        for _ in range(3)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(threads) == 3 and len(set(threads)) == 1
    assert threads[0] not in [caller.ident for caller in callers]


# ---- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [*OUT_OF_MEMORY, *LOST, PermissionError(13, "Permission denied")], ids=repr
)
def test_what_the_machine_lacks_is_no_damage_of_the_checkpoint(
    error, tmp_path, digits, monkeypatch
):
    monkeypatch.setattr(checkpoint, "WRITE_EVERY", 0.0)

    def start():
        net = dpkit.make_net("small_cnn", digits, seed=0)
        return next(
            train(net, digits, Recipe(epochs=2, batch_size=100), seed=0, checkpoint=tmp_path / "c")
        )

    start()

    def fails(*arguments, **more):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", fails)
        with pytest.raises(type(error)) as raised:
            start()
    assert raised.value is error and "remove" not in str(raised.value)
    start()


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_prune_says_in_a_sentence_what_to_make_smaller(error, tmp_path, monkeypatch, capsys):
    def fails(*arguments, **more):
        raise error

    monkeypatch.setattr(pruning, "prune", fails)
    code = cli.main(["prune", "digits", "--ratio", "0.5", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code == 1 and said.count("\n") == 1
    assert all(option in said for option in ("--size", "--batch-size", "--device"))


def test_prune_does_not_take_another_error_for_memory(tmp_path, monkeypatch):
    def fails(*arguments, **more):
        raise OTHERS[0]

    monkeypatch.setattr(pruning, "prune", fails)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        cli.main(["prune", "digits", "--ratio", "0.5", "--out", str(tmp_path / "out")])


# ---- ids -----------------------------------------------------------------------------------------


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU, so that nothing may look into it."""

    @property
    def device(self):
        return torch.device("cuda")


@pytest.mark.parametrize("wrong, got", [([3, 9], "9..9"), ([-1, 2], "-1..-1")])
def test_an_id_outside_the_set_is_no_address_on_a_gpu_and_refused_when_the_answer_is_there(
    wrong, got, monkeypatch
):
    # there, it would end the process
    answers = []
    monkeypatch.setattr(
        DeferredChecks, "refuse_if", lambda checks, wrong, why: answers.append((wrong, why))
    )
    recorder = dpkit.Recorder(4, 1)
    index = torch.tensor(wrong).as_subclass(OnGpu)
    recorder.update(0, index, torch.randn(2, 3), torch.tensor([0, 1]))
    [(refused, why)] = answers
    assert refused and why() == f"index must be original ids in 0..3; got {got}"


# ---- processes, precision ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        torch.distributed.DistBackendError(
            "NCCL error in: NCCLUtils.cpp:77, remote process exited"
        ),
        RuntimeError("NCCL communicator was aborted on rank 0."),
        RuntimeError("ncclRemoteError: A call failed possibly due to a network error"),
        RuntimeError("[/torch/gloo/pair.cc:538] Connection closed by peer"),
    ],
    ids=repr,
)
def test_a_process_that_is_lost_under_nccl_is_told_as_under_gloo(error):
    with pytest.raises(RuntimeError) as raised, explain_lost_process():
        raise error
    assert str(raised.value) == PROCESS_LOST and raised.value.__cause__ is error


@pytest.mark.parametrize(
    "words",
    [
        "NCCL error: invalid usage, Duplicate GPU detected: rank 0 and rank 1 on device 3000",
        "NCCL error: unhandled cuda error, Cuda failure 2 'out of memory'",
        "NCCL communicator: CUDA error: an illegal memory access was encountered",
    ],
)
def test_what_this_process_did_wrong_is_not_blamed_on_another(words):
    with pytest.raises(RuntimeError, match=re.escape(words)), explain_lost_process():
        raise torch.distributed.DistBackendError(words)


ALONE = """
from distributed import Client, LocalCluster
from dpkit.experiments import stages, sweeps
from dpkit.experiments.trials import Trial
from dpkit.training.recipe import Recipe

def lost(*arguments, **more):
    raise RuntimeError("CUDA error: device-side assert triggered")

stages.train, sweeps.ANSWER = lost, 0.5
recipe = Recipe(epochs=1, batch_size=30)
parts = (recipe, 1, recipe)
trials = [Trial("digits", "random", 0.5, seed, *parts, num_samples=60) for seed in range(3)]
more = {"out": "out", "device": "cpu", "minutes": 0.05, "on_progress": lambda *a, **k: None}
workers = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
with LocalCluster(**workers) as cluster, Client(cluster) as client:
    table = sweeps.sweep(trials, client, **more)
    print(sum(table.failed != ""), len(client.scheduler_info()["workers"]))
"""


def test_a_worker_without_a_nanny_that_lost_its_gpu_leaves_and_fails_no_other_trial(python):
    done = python(ALONE)
    assert done.stdout in ("0 0\n", "1 0\n"), done.stderr[-2000:]


@pytest.mark.parametrize("own", [("tf32", "tf32"), ("ieee", "tf32"), ("ieee", "ieee")])
def test_float32_is_not_tf32_and_what_was_set_is_put_back(digits, own):
    conv, rnn = kinds = torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    for kind, value in zip(kinds, own, strict=True):
        kind.fp32_precision = value
    try:
        for inside in (autocast(digits, "fp32"), full_float32()):
            with inside:
                assert not torch.backends.cudnn.allow_tf32 and conv.fp32_precision != "tf32"
            assert (conv.fp32_precision, rnn.fp32_precision) == own
        with pytest.raises(ZeroDivisionError), full_float32():
            raise ZeroDivisionError
        assert (conv.fp32_precision, rnn.fp32_precision) == own
    finally:
        torch.backends.cudnn.allow_tf32 = True


def test_gradients_too_are_computed_in_float32(digits):
    seen = []

    def loss(net, x, y):
        logits = net(x)
        logits.register_hook(lambda g: seen.append(torch.backends.cudnn.allow_tf32))
        return torch.nn.functional.cross_entropy(logits, y), logits

    net = dpkit.make_net("small_cnn", digits, seed=0)
    next(train(net, digits, Recipe(epochs=1, batch_size=100), seed=0, loss=loss))
    assert set(seen) == {False} and torch.backends.cudnn.allow_tf32


def test_what_was_trained_in_tf32_is_another_training(gpus):
    gpus()
    images = from_arrays(np.zeros((4, 16, 16), np.uint8), np.arange(4) % 2, device="cpu")

    def around(precision, device):
        return compute_environment(images, Recipe(precision=precision), torch.device(device))

    assert around("fp32", "cuda")["convolutions"] == "float32"
    assert not {"convolutions"} & {*around("bf16", "cuda"), *around("fp32", "cpu")}
