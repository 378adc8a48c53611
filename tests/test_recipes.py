"""The recipes of docs/record.md, each with the real package, where it is installed."""

import re
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import dpkit

PAGE = (Path(__file__).parents[1] / "docs" / "record.md").read_text(encoding="utf-8")
N, EPOCHS = 40, 3


class Fixed(torch.nn.Module):
    """A network that training does not change: what it says of each image is known beforehand."""

    def __init__(self, weights):
        super().__init__()
        self.register_buffer("weights", weights)
        self.idle = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x.flatten(1) @ self.weights + 0 * self.idle


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the page's recipes are given, and `expected`, (n,): the probabilities of the labels."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(N, 3, 4, 4, generator=generator), torch.arange(N) * 7 % 4
    net = Fixed(torch.randn(48, 4, generator=generator))
    dataset = TensorDataset(x, y)
    dataset.targets = y
    return {
        "dpkit": dpkit,
        "torch": torch,
        "DataLoader": DataLoader,
        "dataset": dataset,
        "net": net,
        "optimizer": torch.optim.SGD(net.parameters(), lr=0.1),
        "epochs": EPOCHS,
        "expected": net(x).softmax(1)[torch.arange(N), y].detach().numpy(),
    }


def run(heading, names, change=str):
    """The python of the part of the page under this heading, `change`d for so small a set."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    exec(change(code.replace("batch_size=128", "batch_size=12")), names)


def assert_recorded(names):
    record = names["dynamics"]
    assert record.labels.tolist() == names["dataset"].targets.tolist()
    np.testing.assert_allclose(
        record.target_prob, np.repeat(names["expected"][:, None], EPOCHS, axis=1), atol=1e-5
    )


def test_mixup_leaves_no_trace_in_a_clean_look(names):
    run("With mixup, CutMix and label smoothing", names)
    assert_recorded(names)
    assert names["dynamics"].moment == "eval"


@pytest.mark.filterwarnings("ignore")
def test_lightning_records_and_goes_on_from_a_checkpoint(names):
    lightning = pytest.importorskip("lightning")
    run("With Lightning", names)
    assert_recorded(names)
    names["trainer"].save_checkpoint("stopped.ckpt")
    again = dpkit.Recorder(N)
    longer = lightning.Trainer(max_epochs=EPOCHS + 2, logger=False, enable_progress_bar=False)
    longer.fit(names["Recorded"](names["net"], again), names["loader"], ckpt_path="stopped.ckpt")
    assert again.dynamics().num_epochs == EPOCHS + 2


@pytest.mark.filterwarnings("ignore")
def test_hugging_faces_trainer_records_and_goes_on_from_a_checkpoint(names):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Model(torch.nn.Module):
        def forward(self, pixel_values, labels):
            logits = names["net"](pixel_values)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            return Output(loss=loss, logits=logits)

    from transformers.modeling_outputs import ImageClassifierOutput as Output

    names["model"] = Model()
    names["model"].net = names["net"]
    arguments = (
        '"training",\n        use_cpu=True,\n        disable_tqdm=True,\n        save_steps=6,'
    )
    run("With Hugging Face's Trainer", names, lambda code: code.replace('"training",', arguments))
    assert_recorded(names)
    # from the middle of the second epoch, of four batches each
    names["recorder"].load_state_dict(
        torch.load("training/checkpoint-6/recorder.pt", weights_only=True)
    )
    names["trainer"].train(resume_from_checkpoint="training/checkpoint-6")
    names["dynamics"] = names["recorder"].dynamics()
    assert_recorded(names)


def test_accelerate_records_and_takes_the_record_along(names):
    pytest.importorskip("accelerate")
    run(
        "With Accelerate",
        names,
        lambda code: code.replace("Accelerator()", "Accelerator(cpu=True)"),
    )
    assert_recorded(names)
    names["accelerator"].save_state("state")
    before = names["recorder"].dynamics()
    names["recorder"].load_state_dict(dpkit.Recorder(N, labels=before.labels).state_dict())
    names["accelerator"].load_state("state")
    np.testing.assert_array_equal(names["recorder"].dynamics().target_prob, before.target_prob)


@pytest.mark.parametrize("prefetcher", [False, True])
def test_timms_loaders_give_a_clean_look_in_the_order_of_image_folder(names, tmp_path, prefetcher):
    pytest.importorskip("timm.data")
    x = torch.rand(N, 4, 4, 3, generator=torch.Generator().manual_seed(1)).mul(255).byte()
    for i in range(N):  # timm's own reader has 2.png before 10.png
        file = tmp_path / "photos" / f"class{i % 4}" / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[i].numpy()).save(file)
    by_name = sorted(range(N), key=lambda i: (i % 4, f"{i}.png"))
    names["dataset"] = types.SimpleNamespace(targets=torch.arange(N)[by_name] % 4)
    pixels = (x[by_name].permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    logits = names["net"](pixels)
    targets = names["dataset"].targets
    names["expected"] = logits.softmax(1)[torch.arange(N), targets].detach().numpy()
    names["timm"], names["device"] = pytest.importorskip("timm"), torch.device("cpu")
    names["data_config"] = {"input_size": (3, 4, 4), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    names["args"] = types.SimpleNamespace(
        dataset="torch/image_folder",
        data_dir=str(tmp_path / "photos"),
        train_split="",
        batch_size=12,
        workers=0,
        prefetcher=prefetcher,
    )
    run("With timm's training script", names)
    for epoch in range(EPOCHS):
        names["record"](names["net"], epoch)
    names["dynamics"] = names["recorder"].dynamics()
    assert_recorded(names)
