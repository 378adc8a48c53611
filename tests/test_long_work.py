"""Long selections say what they need, show how far they are, and end at Ctrl-C."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import dpkit
from dpkit import METHODS, Scores, Snapshot
from dpkit.data.loading import from_arrays
from dpkit.methods.method import Method
from dpkit.storage import long_work
from dpkit.storage.long_work import LongWork, heard_by


def table(n, d, seed=0):
    """(features, labels): ten classes of normal numbers around zero."""
    draws = np.random.default_rng(seed)
    return draws.normal(size=(n, d)).astype(np.float32), draws.integers(0, 10, n)


def snapshot(n=120, d=6, classes=3):
    draws = np.random.default_rng(0)
    probs = draws.dirichlet(np.ones(classes), size=n).astype(np.float32)
    features = draws.normal(size=(n, d)).astype(np.float32)
    return Snapshot(probs[None], features, draws.integers(0, classes, n))


def d2(x, y, **more):
    scores = Scores(np.random.default_rng(1).random(len(x)), "mine")
    return dpkit.keep_d2(scores, len(x) // 2, features=x, rng=0, **more)


def kcenter(x, y):
    return dpkit.keep_kcenter(x, len(x) // 2, rng=0)


def herding(x, y):
    return dpkit.keep_herding(x, len(x) // 2, labels=y, rng=0, per_class=None)


def influence(x, y):
    return METHODS["influence"].selector(snapshot(), 40, rng=0)


SELECTIONS = {"d2": d2, "kcenter": kcenter, "herding": herding, "influence": influence}


@pytest.fixture
def all_is_long(monkeypatch):
    """Everything counts as long, and says at every step how far it is."""
    monkeypatch.setattr(long_work, "LONG", 0.0)
    monkeypatch.setattr(long_work, "PAUSE", 0.0)


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_small_selection_says_nothing_and_a_long_one_the_same_result_with_words(
    name, all_is_long, monkeypatch, capsys
):
    lines = []
    with heard_by(lines.append):
        told = SELECTIONS[name](*table(1500, 8))
    monkeypatch.undo()
    silent = SELECTIONS[name](*table(1500, 8))
    assert capsys.readouterr() == ("", "")
    assert np.array_equal(told.kept, silent.kept) and told.params == silent.params
    assert lines[0].startswith(f"{name} of ") and "Ctrl-C stops it" in lines[0]
    assert any(line.startswith(f"{name} of ") and line.endswith(" left") for line in lines[1:])


def test_the_first_line_has_the_time_and_the_memory_and_the_next_go_by_the_clock(monkeypatch):
    now, lines = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with heard_by(lines.append):
        work = LongWork("d2 of 500,000 samples", seconds=180, memory=2.1e9)
        for now[0], done in ((20, 45), (40, 45), (50, 45)):
            work.add(done)
    # half of it after 40 s; nothing is said 10 s later
    assert lines == [
        "d2 of 500,000 samples: about 3 min 00 s and 2.1 GB of memory; Ctrl-C stops it",
        "d2 of 500,000 samples: 50%, 40 s left",
    ]


@pytest.mark.parametrize("seconds, memory, says", [(59, 9e8, 0), (60, 0, 1), (1, 1e9, 1)])
def test_the_limits_are_a_minute_and_a_gigabyte(seconds, memory, says, capsys):
    LongWork("herding of 5 samples", seconds=seconds, memory=memory)
    assert capsys.readouterr().err.count("herding of 5 samples: about") == says
    with heard_by(None):
        LongWork("herding of 5 samples", seconds=seconds, memory=memory)
    assert capsys.readouterr() == ("", "")


def test_work_that_was_estimated_too_short_speaks_once_the_clock_says_so(monkeypatch):
    now, lines = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with heard_by(lines.append):
        work = LongWork("kcenter of 9 samples", seconds=10)
        now[0] = 31
        work.add(2)
    assert lines == ["kcenter of 9 samples: 20%, 2 min 04 s left"]


def test_an_estimate_is_of_what_is_searched_class_by_class_a_tenth_and_of_all_nothing(monkeypatch):
    lines, (x, y) = [], table(4000, 8)
    with heard_by(lines.append):
        monkeypatch.setattr(long_work, "LONG", 3e-3)  # 4000^2 / 2 pairs take 9 ms
        d2(x, y)
        assert len(lines) == 1
        d2(x, y, labels=y, per_class="proportional")
        monkeypatch.setattr(long_work, "LONG", 1e-9)
        dpkit.keep_kcenter(x, len(x), rng=0)
        dpkit.keep_herding(x, len(x), labels=y, rng=0)
    assert len(lines) == 1


@pytest.mark.parametrize("say", ["heard", None])
def test_prune_passes_the_words_on_or_keeps_silent(say, tmp_path, capsys):
    def slow(scores, keep, *, rng):
        n = scores.num_samples  # fewer when the method is rehearsed
        LongWork(f"slow of {n} samples", seconds=100 if n == 60 else 0)
        return dpkit.keep_top(scores, keep, rng=rng)

    prob = np.random.default_rng(0).random((60, 12))
    images = from_arrays(np.zeros((60, 8, 8), np.uint8), np.arange(60) % 3, device="cpu")
    record = dpkit.TrainingDynamics(prob, prob - 0.5, prob > 0.5, np.arange(60) % 3)
    record.save(tmp_path / "record")
    lines = []
    dpkit.prune(
        images,
        tmp_path / "out",
        method=Method("dynamics", dpkit.dual, slow, name="slow"),
        prune_ratio=0.5,
        dynamics=tmp_path / "record",
        say=lines.append if say else None,
    )
    assert capsys.readouterr().err == ""
    assert sum("slow of 60 samples" in line for line in lines) == (1 if say else 0)


# ---- Ctrl-C --------------------------------------------------------------------------------------


def clusters(n, d):
    """Far apart and narrow: rounding hides which are nearest, and most rows are searched again."""
    x, y = table(n, d)
    return x + 1e3 * y[:, None], y


def seconds_until_it_ends(work, after):
    """The processor's seconds between a SIGINT and its KeyboardInterrupt. Not the clock's: the
    machine may be busy with something else.
    """
    sent = []

    def interrupt():
        sent.append(time.process_time())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, interrupt)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
            pytest.fail("the work was over before it was interrupted")
    finally:
        timer.cancel()
    return time.process_time() - sent[0]


@pytest.mark.parametrize(
    "work",
    [
        lambda: d2(*table(100_000, 64)),
        lambda: d2(*clusters(30_000, 64)),
        lambda: kcenter(*table(60_000, 32)),
        lambda: herding(*table(60_000, 32)),
        lambda: dpkit.anneal(table(2000, 500)[0], 1000, rng=0, steps=10**8),
    ],
    ids=["d2", "d2 of clusters", "kcenter", "herding", "anneal"],
)
def test_ctrl_c_ends_a_selection_within_a_second(work):
    for warm in (d2, kcenter, herding):  # compiled before the clock runs
        warm(*table(50, 64))
    assert seconds_until_it_ends(work, after=1.0) < 1
