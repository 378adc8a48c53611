"""dpkit prune --scores: the highest of scores made elsewhere are kept, whatever their file's form
and order, and a file that is not of this set is refused.
"""

import hashlib
import json
import re

import numpy as np
import pytest
from PIL import Image

import dpkit
from dpkit.cli import main
from dpkit.data.toys import toy_images
from dpkit.experiments import stages
from dpkit.methods.given import by_given_scores
from dpkit.methods.method import Method
from dpkit.records import Scores, Selection

N = 40
VALUES = np.random.default_rng(0).normal(size=N).round(3)
BEST = np.sort(np.argsort(VALUES)[-20:]).tolist()


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch, tmp_path):
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("a training was started"))
    monkeypatch.setenv("DPKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def arrays(tmp_path):
    """A set without files."""
    images = np.zeros((N, 8, 8), np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(N) % 4)
    return tmp_path / "own.npz"


@pytest.fixture
def photos(tmp_path):
    """A set of files: wolf/00.png .. , wolf spider/00.png .. ; row i is the i-th path here."""
    paths = [f"{name}/{i:02d}.png" for name in ("wolf", "wolf spider") for i in range(N // 2)]
    for path in paths:
        file = tmp_path / "photos" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(file)
    return tmp_path / "photos", paths


def prune(data, tmp_path, *more, ratio=0.5):
    """The exit code."""
    out = tmp_path / "pruned"
    return main(["prune", str(data), "--out", str(out), "--ratio", str(ratio), *map(str, more)])


def table(file, header, rows):
    file.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return file


def shuffled(rows):
    return [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]


def kept(tmp_path):
    return dpkit.read_kept(tmp_path / "pruned")[0].tolist()


# ---- what is taken -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float64, np.float32, ">f8"])
def test_the_highest_of_an_array_are_kept_and_the_manifest_names_its_file(
    arrays, tmp_path, capsys, kind
):
    np.save(tmp_path / "mine.npy", VALUES.astype(kind))
    assert prune(arrays, tmp_path, "--scores", tmp_path / "mine.npy") == 0
    assert kept(tmp_path) == BEST
    said = capsys.readouterr().err
    assert f"mine.npy: scores of 40 samples, {VALUES.min():.6g} to {VALUES.max():.6g}; higher" in (
        said
    )
    manifest = json.loads((tmp_path / "pruned" / "manifest.json").read_text())
    sha256 = hashlib.sha256((tmp_path / "mine.npy").read_bytes()).hexdigest()
    assert manifest["record"] == {"scores": str(tmp_path / "mine.npy"), "sha256": sha256}
    assert manifest["request"]["method"] == "top" and manifest["keep"] == 20
    found = Scores.load(tmp_path / "pruned" / "scores")
    np.testing.assert_allclose(found.values, VALUES, rtol=1e-6)
    assert found.name == "mine" and not (tmp_path / "pruned" / "moon.png").exists()


def test_a_table_is_matched_by_id_or_by_path_in_any_order(arrays, photos, tmp_path, capsys):
    folder, paths = photos
    by_id = table(tmp_path / "ids.csv", "Score, ID", shuffled(list(zip(VALUES, range(N)))))
    by_path = table(
        tmp_path / "paths.csv",
        "id,path,label,score",  # as other tools number them: the path counts
        shuffled([(7, f"/data/all/{path}", "x", v) for path, v in zip(paths, VALUES)]),
    )
    for data, file, how in (
        (arrays, by_id, "id"),
        (folder, by_id, "id"),
        (folder, by_path, "path"),
    ):
        assert prune(data, tmp_path, "--scores", file, "--overwrite") == 0
        assert kept(tmp_path) == BEST
        assert f"scores of 40 samples, by {how}, " in capsys.readouterr().err


def test_a_table_as_spreadsheets_write_it_is_read(photos, tmp_path):
    folder, paths = photos
    rows = "".join(f'"{path}",{value}\r\n' for path, value in zip(paths, VALUES))
    (tmp_path / "s.csv").write_bytes(b"\xef\xbb\xbf" + f"path,score\r\n{rows}\r\n".encode())
    assert prune(folder, tmp_path, "--scores", tmp_path / "s.csv") == 0
    assert kept(tmp_path) == BEST


def test_a_table_with_semicolons_is_read(arrays, tmp_path):
    table(tmp_path / "s.csv", "id;score", [(f"{i};{value}",) for i, value in enumerate(VALUES)])
    assert prune(arrays, tmp_path, "--scores", tmp_path / "s.csv") == 0 and kept(tmp_path) == BEST


def test_the_same_scores_again_do_nothing_and_other_ones_are_another_run(arrays, tmp_path, capsys):
    np.save(tmp_path / "mine.npy", VALUES)
    assert prune(arrays, tmp_path, "--scores", tmp_path / "mine.npy") == 0
    assert prune(arrays, tmp_path, "--scores", tmp_path / "mine.npy") == 0
    assert "this very run" in capsys.readouterr().err
    np.save(tmp_path / "mine.npy", -VALUES)
    assert prune(arrays, tmp_path, "--scores", tmp_path / "mine.npy") == 2
    assert "holds another run (other scores)" in capsys.readouterr().err
    assert kept(tmp_path) == BEST


def test_quotas_and_the_rule_of_a_method_that_reads_scores_alone(arrays, tmp_path):
    np.save(tmp_path / "mine.npy", VALUES)
    given = ("--scores", tmp_path / "mine.npy", "--overwrite")
    assert prune(arrays, tmp_path, *given, "--set", "per_class=balanced") == 0
    assert np.bincount(np.array(kept(tmp_path)) % 4).tolist() == [5] * 4
    assert prune(arrays, tmp_path, *given, "--set", "per_class=[0.5, 0.9, 0.9, 0.9]") == 0
    assert np.bincount(np.array(kept(tmp_path)) % 4).argmax() == 0  # the one with least recall
    assert prune(arrays, tmp_path, *given, "--method", "ccs", "--set", "cutoff=0.25") == 0
    hardest = np.argsort(VALUES)[-10:]
    assert not set(hardest) & set(kept(tmp_path)) and len(kept(tmp_path)) == 20


def test_scores_of_python_and_of_a_subset_are_those_of_the_whole_set(tmp_path):
    images, _ = toy_images(N, size=8, device="cpu")
    part = images.subset(Selection(np.arange(0, N, 2), N, "even"))
    table(tmp_path / "s.csv", "id,score", enumerate(VALUES))
    for scores in (Scores(VALUES, "mine"), tmp_path / "s.csv"):
        done = dpkit.prune(
            part, tmp_path / "pruned", scores=scores, prune_ratio=0.5, overwrite=True, say=None
        )
        assert kept(tmp_path) == np.sort(2 * np.argsort(VALUES[::2])[-10:]).tolist()
        assert done["num_samples"] == N
    with pytest.raises(TypeError, match=r"scores=.* needs Scores; got ndarray; wrap it: Scores"):
        dpkit.prune(part, tmp_path / "x", scores=VALUES, prune_ratio=0.5, say=None)


def test_scores_that_tell_nothing_apart_are_named(arrays, tmp_path, capsys):
    np.save(tmp_path / "mine.npy", np.ones(N))
    assert prune(arrays, tmp_path, "--scores", tmp_path / "mine.npy") == 0
    assert "careful: all scores are the same" in capsys.readouterr().err


# ---- what is refused -----------------------------------------------------------------------------


def refused(data, tmp_path, capsys, *more):
    assert prune(data, tmp_path, *more) == 2
    told = [x for x in capsys.readouterr().err.splitlines() if x.startswith("dpkit: ")]
    assert len(told) == 1 and not (tmp_path / "pruned").exists()
    return told[0]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (VALUES[:-1], "must have a score for each of the 40 samples of .*own.npz.*; got 39"),
        (
            np.where(np.arange(N) == 7, np.nan, VALUES),
            r"1 of 40 scores are NaN \(first: sample 7\)",
        ),
        (np.argsort(VALUES), r"\(n,\) floats.*int64; of whole numbers that are scores, not ids"),
        (VALUES > 0, r"floats, .* of bool$"),
        (VALUES[:, None], r"got shape \(40, 1\) of float64: save values.ravel\(\)"),
        (np.array(["a"] * N), r"floats, a score per sample; got shape \(40,\) of <U1"),
        (np.array([None] * N), r"not a whole .npy of numbers \(Object arrays"),
    ],
)
def test_an_array_that_holds_no_score_per_sample_is_refused(arrays, tmp_path, capsys, values, said):
    np.save(tmp_path / "mine.npy", values)
    told = refused(arrays, tmp_path, capsys, "--scores", tmp_path / "mine.npy")
    assert re.search(said, told), told


IDS = [(i, v) for i, v in enumerate(VALUES)]


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        ("id,score", IDS[:-2], "2 have none (first: id 38)"),
        ("id,score", [*IDS, (40, 1.0)], "ids of {data}, 0..39; line 42 has '40'"),
        ("id,score", [*IDS, (3, 1.0)], "every id once; 3 is in lines 5 and 42"),
        ("id,score", [("1.0", 2), *IDS], "line 2 has '1.0'"),
        ("id,score", [(i, "high") for i, _ in IDS], "score; line 2 has 'high'"),
        ("id,score", [(i, "") for i, _ in IDS], "score; line 2 has ''"),
        ("id,score", [(i, "nan") for i, _ in IDS], "40 of 40 scores are NaN (first: sample 0)"),
        ("id,score", [(*row, 1) for row in IDS], "has 2 columns, and line 2 has 3 cells"),
        ("id;score", [(f"{i};0,5",) for i, v in IDS], "score; line 2 has '0,5'"),
        ("id,dual", IDS, "the columns id, and score, each once; it has 'id', 'dual'"),
        ("id,score,score", [(*row, 1) for row in IDS], "each once"),
        ("path,score", IDS, "must have the columns id, and score"),  # the set has no files
    ],
)
def test_a_table_that_is_not_of_the_set_is_refused(arrays, tmp_path, capsys, header, rows, said):
    file = table(tmp_path / "s.csv", header, rows)
    told = refused(arrays, tmp_path, capsys, "--scores", file)
    parts = said.replace("{data}", str(arrays)).split(" .* ")
    assert all(part in told for part in parts), told


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:-1], "wolf spider/19.png is not in the other list"),
        (lambda rows: [*rows, rows[4]], "wolf/04.png stands in the other list 2 times, in rows 4"),
        (lambda rows: [*rows, ("wolf/90.png", 1)], "(first: 'wolf/90.png' in line 42)"),
        (lambda rows: [(p.replace("wolf/", "fox/"), v) for p, v in rows], "wolf/00.png is not in"),
        (lambda rows: [(p.split("/")[1], v) for p, v in rows], "00.png stands there twice"),
        (lambda rows: [("", v) for _, v in rows], "others[0] must be a path"),
        (lambda rows: [], "there must be something to find"),
    ],
)
def test_paths_that_are_not_each_image_once_are_refused(photos, tmp_path, capsys, change, said):
    folder, paths = photos
    file = table(tmp_path / "s.csv", "path,score", change(list(zip(paths, VALUES))))
    told = refused(folder, tmp_path, capsys, "--scores", file)
    assert "s.csv must have " in told and said in told, told


def test_what_is_no_file_of_scores_is_refused(arrays, tmp_path, capsys):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "s.txt").write_text("1\n2\n")
    for name, said in (
        ("none.npy", "none.npy is no file"),
        ("", "is a folder"),
        ("s.txt", "must be an .npy of (n,) floats, or a .csv with the columns id or path, and"),
        ("broken.npy", "not a whole .npy"),
        ("empty.csv", "it has none"),
    ):
        assert said in refused(arrays, tmp_path, capsys, "--scores", tmp_path / name)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--dynamics", "record"), "two ways to judge the samples; give one"),
        (("--method", "random"), "random cannot choose by scores made elsewhere: its rule reads"),
        (("--method", "dual+beta"), "its rule reads more than scores"),
        (("--method", "dual"), "is to keep the highest of its own scores. Leave the method out"),
        (("--method", "herding"), "other rules are ccs"),
        (("--method", "cccs"), "ccs"),
        (("--c-d", "4"), "top takes the settings per_class, protect_inf; got c_d"),
        (("--set", "per_class=evenly"), "per_class"),
        (("--set", "per_class=difficulty"), "also reads dynamics, and only scores are given"),
        (("--method", "ccs", "--set", "cutoff=0.9"), "cutoff"),
        (("--method", "ccs", "--set", "scale=logit"), "takes the settings"),
        (("--seed", "-1"), "seed must be"),
    ],
)
def test_what_does_not_go_with_scores_is_refused(arrays, tmp_path, capsys, more, said):
    np.save(tmp_path / "mine.npy", VALUES)
    assert said in refused(arrays, tmp_path, capsys, "--scores", tmp_path / "mine.npy", *more)


def test_a_method_that_reads_scores_is_not_for_a_training(tmp_path):
    images, _ = toy_images(N, size=8, device="cpu")
    with pytest.raises(ValueError, match=r"no training leaves scores .*prune\(scores=...\)"):
        dpkit.prune(
            images, tmp_path / "out", method=by_given_scores(), prune_ratio=0.5, epochs=1, say=None
        )


def test_a_rule_of_ones_own_chooses_by_given_scores():
    def keep_lowest(scores, keep, *, rng):
        return Selection(np.sort(np.argsort(scores.values)[:keep]), scores.num_samples, "lowest")

    mine = Method("dynamics", dpkit.aum, keep_lowest, name="lowest")
    rule = by_given_scores(mine)
    scores = Scores(VALUES, "mine")
    assert rule.name == "lowest rule" and rule.score(scores) is scores
    assert rule.select(scores, 20, rng=0).kept.tolist() == sorted(set(range(N)) - set(BEST))
