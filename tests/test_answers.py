"""What crosses between a test and the student's process: plain values, in words what went wrong,
and nothing else.
"""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nbgrader")
pytest.importorskip("IPython")

import dpkit
from dpkit.classroom import sandbox

NO_SANDBOX = sandbox.why_not()
LIMITS = sandbox.Limits(seconds=10, total=120, memory=2**30)


@pytest.fixture
def worker():
    """worker(limits): Answers in a sandbox, or without where there is none; ended after the
    test.
    """
    from dpkit.classroom.answers import Answers

    made = []

    def start(limits=LIMITS, **options):
        made.append(Answers(limits, trust=bool(NO_SANDBOX), **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.mark.skipif(NO_SANDBOX is not None, reason=str(NO_SANDBOX))
def test_the_memory_of_all_processes_together_is_bounded_and_those_left_behind_are_ended(worker):
    from dpkit.classroom.answers import Lost

    answers = worker(sandbox.Limits(seconds=60, total=100, memory=400 * 2**20))
    root = []
    answers.run("x = 3")
    root.append(answers.worker_pid())
    with pytest.raises(Lost, match="used more than 0.391 GB of memory and was ended"):
        answers.run(
            "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n        mine = b'1' * "
            "2**27\n        time.sleep(60)\ntime.sleep(60)"
        )
    assert not sandbox.below(root[0])
    assert answers.fetch({"x"}) == {"x": 3}  # a new worker, with the earlier cells run again


@pytest.mark.skipif(NO_SANDBOX is not None, reason=str(NO_SANDBOX))
def test_threads_are_bounded_whatever_a_process_calls_itself(worker):
    from dpkit.classroom.answers import Lost

    answers = worker(sandbox.Limits(seconds=30, total=100, processes=4))
    with pytest.raises(Lost, match="started more than 4 processes and was ended"):
        answers.run(
            "import ctypes, threading, time\n"
            "ctypes.CDLL(None).prctl(15, b'Threads:\\t1', 0, 0, 0)\n"
            "for _ in range(40):\n    threading.Thread(target=time.sleep, args=(60,)).start()\n"
            "time.sleep(60)"
        )


def test_values_cross_as_they_are_and_nothing_else_crosses(worker):
    from dpkit.classroom.answers import AnswerError

    answers = worker()
    answers.run(
        "import numpy as np, dpkit\ndef same(x, *more, **named):\n    return x\nclass Own: "
        "pass\nown = Own()"
    )
    same = answers.fetch({"same"})["same"]
    for value in (
        None,
        True,
        3,
        -(2**70),
        0.1,
        float("inf"),
        "ü",
        [1, (2.5, None)],
        {"a": {1, 2}},
        {(1, 2): "x"},
    ):
        assert same(value) == value and type(same(value)) is type(value)
    for array in (
        np.arange(6.0).reshape(2, 3).T,
        np.zeros((0, 3), int),
        np.array(["a", "bc"]),
        np.float32(0.5),
        np.array(True),
        np.array(["2026-01-01"], "datetime64[D]"),
    ):
        got = same(array)
        assert (
            np.array_equal(got, array)
            and np.asarray(got).dtype == array.dtype
            and np.shape(got) == np.shape(array)
        )
    assert np.isnan(same(np.nan))
    scores = same(dpkit.Scores([1.0, np.inf], "mine", {"window": 3}))
    assert (
        scores.name == "mine"
        and scores.params == {"window": 3}
        and list(scores.values) == [1.0, np.inf]
    )
    answers.run(
        "import pandas as pd\nrows = pd.DataFrame({'a': [1.0, 2.0], 'b': [3.0, 4.0]})\n"
        "row = rows['a']\nfew = row.index[1:]"
    )
    tables = answers.fetch({"rows", "row", "few"})
    assert (
        tables["rows"].tolist() == [[1, 3], [2, 4]]
        and tables["row"].tolist() == [1, 2]
        and list(tables["few"]) == [1]
    )
    kept = same(dpkit.Selection([0, 2], 4, "top"))
    assert list(kept.kept) == [0, 2] and kept.num_samples == 4
    with pytest.raises(TypeError, match="a PosixPath, which cannot be sent"):
        same(Path())
    with pytest.raises(AnswerError, match="your `own` is a Own; make it a plain number"):
        answers.fetch({"own"})


def test_magics_figures_and_tables_come_back_as_text_and_pictures_only(worker):
    import base64

    answers = worker(sandbox.Limits(seconds=90, total=200))
    outputs, raised = answers.run(
        "import matplotlib.pyplot as plt\nfrom IPython.display import HTML\n"
        "plt.plot([1, 2])\nplt.show()\n!echo from the shell\nHTML('<script>alert(1)</script>')"
    )
    assert raised is None
    pictures = [
        output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 1 and base64.b64decode(pictures[0]).startswith(b"\x89PNG")
    assert any("from the shell" in output.get("text", "") for output in outputs)
    assert "<script>" not in str(outputs)
    outputs, raised = answers.run("[1, 2]")
    assert [output["data"] for output in outputs] == [{"text/plain": "[1, 2]"}]
    # as in a kernel, and nothing of ours among the names
    (shown,), _ = answers.run("__name__, _, 'wire' in globals()")
    assert shown["data"] == {"text/plain": "('__main__', [1, 2], False)"}
    outputs, raised = answers.run("%matplotlib inline\nafter = 1")
    assert raised is None and answers.fetch({"after"}) == {"after": 1}
    outputs, raised = answers.run("%timeit -n1 -r1 1\ninput()")
    # nobody is there to type
    assert raised["kind"] == "EOFError" and outputs[-1]["output_type"] == "error"


def test_what_a_function_does_instead_of_answering_is_said_in_words(worker):
    from dpkit.classroom.answers import AnswerError

    answers = worker()
    answers.run("""
import numpy as np
def fails(x):
    return [1, 2][x]
def own_kind(x):
    class Odd(Exception): pass
    raise Odd("so odd")
def own_value(x):
    class TooShort(ValueError): pass
    raise TooShort("one epoch")
def leaves(x):
    raise SystemExit
def gives_itself():
    return [object()]
def changes(x, y):
    y["a"].append(1)
def draws(rng):
    return rng.random()
def adder(n):
    return lambda x: x + n
def recursive(x):
    return recursive(x)
""")
    f = answers.fetch(
        {
            "fails",
            "own_kind",
            "own_value",
            "leaves",
            "gives_itself",
            "changes",
            "draws",
            "adder",
            "recursive",
        }
    )
    with pytest.raises(
        IndexError,
        match=r"your fails raised IndexError: .* out of range \(line 3: return \[1, 2\]\[x\]\)",
    ):
        f["fails"](5)
    with pytest.raises(AnswerError, match="your own_kind raised Odd: so odd"):
        f["own_kind"](5)
    with pytest.raises(ValueError, match="your own_value raised TooShort: one epoch"):
        f["own_value"](5)
    with pytest.raises(AnswerError, match="your leaves raised SystemExit"):
        f["leaves"](5)
    with pytest.raises(
        AnswerError, match="your gives_itself returned a object; return a plain number"
    ):
        f["gives_itself"]()
    with pytest.raises(AnswerError, match="your changes changed its argument 2 in place"):
        f["changes"](1, {"a": []})
    with pytest.raises(RecursionError):
        f["recursive"](5)
    ours, theirs = np.random.default_rng(3), np.random.default_rng(3)
    # the generator goes on, as in a kernel
    assert [f["draws"](ours) for _ in range(3)] == [theirs.random() for _ in range(3)]
    assert f["adder"](2)(40) == 42
    assert "changed" not in str(f["adder"])


def test_a_process_that_does_not_start_is_nobodys_wrong_answer():
    from dpkit.classroom.answers import NoWorker
    from dpkit.classroom.marker import mark

    class Broken:
        def fetch(self, names):
            raise NoWorker("no memory left")

    with pytest.raises(NoWorker):  # the marker ends, and the submission is graded again
        list(mark([{"role": "test", "name": "t", "source": "answer()", "points": 1.0}], Broken()))


def test_a_message_from_a_worker_is_believed_in_nothing():
    from dpkit.classroom import wire

    blob = [bytes(8)]
    for tree in (
        {"array": [0, "|O8", [1]]},
        {"array": [0, "<f8", [2]]},
        {"array": [0, "<f8", [-1]]},
        {"array": [3, "<f8", [1]]},
        {"array": [0, "<f8", [2**62, 4]]},
        {"array": [0, "V8", [1]]},
        {"record": "Popen", "fields": {}},
        {"record": "Scores", "fields": {"values": 3, "name": "x", "params": {}}},
        {"list": 3},
        {},
        {"pickle": "x"},
        {"generator": {"dict": [["bit_generator", "seed"]]}},
        {"callable": 0, "name": "f"},
        [1],
    ):
        with pytest.raises(wire.Garbled):
            wire.decode(tree, blob)
    deep = 1
    for _ in range(500):
        deep = {"list": [deep]}
    with pytest.raises(wire.Garbled):
        wire.decode(deep, [])


@pytest.mark.parametrize(
    "frame",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"dpk1" + b"\xff" * 12,
        b"dpk1" + (2).to_bytes(4, "big") + (0).to_bytes(8, "big") + b"[]",
        b"dpk1" + (13).to_bytes(4, "big") + (9).to_bytes(8, "big") + b'{"blobs":[8]}' + bytes(9),
    ],
)
def test_a_frame_that_is_none_is_refused_without_reading_on(frame):
    from dpkit.classroom import wire

    out, into = os.pipe()
    os.write(into, frame)
    with pytest.raises(wire.Garbled):
        wire.receive(out)
    os.close(out)
    os.close(into)


def test_a_number_in_the_last_line_is_partial_credit_by_nbgraders_rule():
    from dpkit.classroom.marker import mark
    from dpkit.classroom.tables import points_of

    class Nobody:
        def fetch(self, names):
            return {}

    def points(source):
        step = {"role": "test", "name": "t", "source": source, "points": 2.0}
        (done,) = mark([step], Nobody())
        return points_of(step, done, None), done["failed"]

    assert points("1 + 1") == (2, None) and points("0") == (0, None)
    # nbgrader alone would take its text for full points
    assert points("import numpy as np\nnp.float64(0.5)") == (0.5, None)
    assert points("'well done'") == (2, None) and points("x = 1") == (2, None)
    assert points("3") == (0, "the test gave 3 points, which is not in 0..2")
    assert points("float('nan')")[0] == 0 and points("-1.0")[0] == 0
    assert points("assert 1 == 2") == (0, "`assert 1 == 2` does not hold")
    assert points("### BEGIN HIDDEN TESTS\nassert 1 == 2\n### END HIDDEN TESTS") == (
        0,
        "a hidden test does not hold",
    )
    # and not what was expected
    assert points(
        "import numpy as np\n### BEGIN HIDDEN TESTS\nnp.testing.assert_allclose([1.5], [2.5], "
        "err_msg='no')\n### END HIDDEN TESTS"
    ) == (0, "no")
    assert (
        "2.5"
        in points("import numpy as np\nnp.testing.assert_allclose([1.5], [2.5], err_msg='no')")[1]
    )
    assert points("nothing_of_that_name + 1")[1].startswith(
        "NameError: name 'nothing_of_that_name' is not defined; is it"
    )
    assert points("import sys\nsys.exit(0)")[0] == 0


def test_a_test_reads_from_the_student_only_what_nobody_else_defines():
    from dpkit.classroom.marker import names_needed

    source = (
        "import numpy as np\nfor k in range(3):\n    total = mine(k, window)\n"
        "def check(x):\n    return theirs(x) + len(np.ones(x))\n[own(j) for j in given]"
    )
    assert names_needed(source, {"window": 3, "given": []}) == {"mine", "theirs", "own"}
