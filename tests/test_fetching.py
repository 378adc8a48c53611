"""A published table is fetched whole and checked, from a folder or an address, or not at all; and
what it kept is found by method, ratio and seed.
"""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hand_rows import OUTCOMES, N, outcome
from hand_rows import row as hand_row

import dpkit
from dpkit import storage
from dpkit.cli import main
from dpkit.experiments import publishing, results, table_places
from dpkit.records import Selection

RESULTS = Path(__file__).parents[1] / "results"


@pytest.fixture(autouse=True)
def copies(tmp_path, monkeypatch):
    """Where copies lie."""
    monkeypatch.setenv("DPKIT_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("DPKIT_TABLES", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(table_places, "PAUSE", 0)
    return tmp_path / "data" / "tables"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    for name, some in (("mine", OUTCOMES), ("yours", OUTCOMES[:4])):
        publishing.publish(folder / name, some, title=f"It is {name}", command="-")
    table_places.write_index(folder)
    return folder


@pytest.fixture
def place(made, tmp_path):
    """A folder with two tables."""
    return Path(shutil.copytree(made, tmp_path / "place"))


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; faults: {end of a path: list of what to do instead, once each}."""

    faults: dict = {}
    requests: list = []

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.requests.append(self.path)
        fault = next((left for end, left in self.faults.items() if self.path.endswith(end)), None)
        if not fault:
            return super().do_GET()
        what = fault.pop(0)
        if isinstance(what, int):
            return self.send_error(what)
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(what)  # and the line is cut


@pytest.fixture
def address(place):
    """The same at an address; .faults and .requests are those of Handler."""
    handler = type("Own", (Handler,), {"faults": {}, "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(place)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    class Address(str):
        faults, requests = handler.faults, handler.requests

    yield Address(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


# ---- a copy --------------------------------------------------------------------------------------


def check_copy(folder, outcomes=OUTCOMES):
    """Every row's ids as text and as an array are those that it was trained on."""
    said = json.loads((folder / "manifest.json").read_text())
    storage.check_checksum(said, folder)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(said["sha256"]) == files - {"manifest.json"}
    assert all(
        storage.file_hash(folder / name) == digest for name, digest in said["sha256"].items()
    )
    for k, (told, one) in enumerate(zip(said["kept"], outcomes, strict=True)):
        text = gzip.decompress((folder / told["text"]).read_bytes()).decode()
        assert text == "".join(f"{i}\n" for i in one.selection.kept)
        ids = np.load(folder / told["npy"], allow_pickle=False)
        assert ids.tolist() == one.selection.kept.tolist() and ids.dtype == np.int32
        row = (told["row"], told["method"], told["prune_ratio"], told["seed"], told["kept"])
        assert row == (k, one.row.method, one.row.prune_ratio, one.row.seed, len(ids))


def test_a_table_is_fetched_from_a_folder_with_the_kept_ids_as_text_and_as_arrays(place, copies):
    table = dpkit.fetch("mine", place)
    assert table.folder == copies / "mine" and len(table.rows) == 8
    check_copy(table.folder)
    for name in ("rows.csv", "table.md", "DATA_CARD.md", "scores/dual-seed0.npy"):
        assert (table.folder / name).read_bytes() == (place / "mine" / name).read_bytes()
    assert results.kept_set(table.folder, 5).kept.tolist() == OUTCOMES[5].selection.kept.tolist()
    assert dpkit.fetch("mine").folder == table.folder  # the copy that is there
    assert not (place / "mine" / "kept").exists()


def test_a_copy_can_be_fetched_from_and_gives_the_same_files(place, tmp_path):
    first = dpkit.fetch("mine", place, tmp_path / "public").folder
    second = dpkit.fetch("mine", tmp_path / "public").folder
    names = {path.relative_to(first) for path in first.rglob("*") if path.is_file()}
    assert names == {path.relative_to(second) for path in second.rglob("*") if path.is_file()}
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_a_table_is_fetched_from_an_address_once(address):
    table = dpkit.fetch("mine", address)
    check_copy(table.folder)
    count = len(address.requests)
    assert dpkit.fetch("mine", address).folder == table.folder
    assert address.requests[count:] == ["/mine/manifest.json"]
    dpkit.fetch("mine")
    assert len(address.requests) == count + 1


def test_the_place_may_be_named_by_the_environment(address, monkeypatch):
    monkeypatch.setenv("DPKIT_TABLES", address + "/")
    check_copy(dpkit.fetch("yours").folder, OUTCOMES[:4])


def test_a_table_that_was_made_anew_at_its_place_replaces_the_copy(place, copies):
    dpkit.fetch("mine", place)
    publishing.publish(place / "mine", OUTCOMES[:5], title="It is mine", command="-")
    assert len(dpkit.fetch("mine").rows) == 8
    assert len(dpkit.fetch("mine", place).rows) == 5
    publishing.publish(place / "other", OUTCOMES, title="Another", command="-")
    (place / "other").rename(place / "gone")
    storage.swap_in(place / "gone", place / "mine")
    with pytest.raises(FileExistsError, match="holds the table 'It is mine', and this one is 'An"):
        dpkit.fetch("mine", place)
    assert len(dpkit.fetch("mine").rows) == 5


def test_a_copy_that_was_damaged_is_told_and_fetched_again(place, copies):
    dpkit.fetch("mine", place)
    (copies / "mine" / "kept" / "003.npy").write_bytes(b"")
    with pytest.raises(ValueError, match="the copy of mine in .* is not whole .*: fetch it again"):
        dpkit.fetch("mine")
    check_copy(dpkit.fetch("mine", place).folder)
    (copies / "mine" / "notes.txt").write_text("my thoughts")
    (copies / "mine" / "rows.csv").unlink()
    with pytest.raises(FileExistsError, match="holds notes.txt, which dpkit did not write there"):
        dpkit.fetch("mine", place)
    assert (copies / "mine" / "notes.txt").read_text() == "my thoughts"


# ---- what is refused -----------------------------------------------------------------------------


def test_a_wrong_name_or_place_is_told_what_there_is(place, address, tmp_path):
    for source in (place, address):
        with pytest.raises(ValueError, match="unknown table 'dual' at .*; there are mine, yours$"):
            dpkit.fetch("dual", source)
    (place / "index.json").unlink()
    with pytest.raises(ValueError, match="unknown table 'dual' at .*, and .* has no index.json"):
        dpkit.fetch("dual", address)
    for source, words in (
        (None, "there is no public address of tables yet: name a folder or an address, by --from"),
        (tmp_path / "none", "there is no folder .*none: name one that holds tables"),
        (place / "mine", "is a table itself: fetch mine from the folder that it lies in, .*place$"),
        ("ftp://host/results", "a folder or an address like https://host/results; got ftp://"),
        ("https://", "a folder or an address like https"),
    ):
        with pytest.raises(ValueError, match=words):
            dpkit.fetch("mine", source)
    for name in ("results/mine", "", "..", ".hidden", "a b", None):
        with pytest.raises(ValueError, match="a table's name is a single word like dual-"):
            dpkit.fetch(name, place)
    dpkit.fetch("mine", place)
    with pytest.raises(ValueError, match="a clone of dpkit has the folder results; fetched .*mine"):
        dpkit.fetch("yours")
    with pytest.raises(ValueError, match="is where the copy would be written; name another folder"):
        dpkit.fetch("mine", place, place)


def alter(place, **parts):
    """Write the manifest of `mine` with other entries."""
    said = json.loads((place / "mine" / "manifest.json").read_text()) | parts
    storage.write_json(place / "mine" / "manifest.json", storage.with_checksum(said))


def _append(place):
    with open(place / "mine" / "kept.npy", "ab") as file:
        file.write(b"x")


def _remove(place):
    (place / "mine" / "scores" / "dual-seed1.npy").unlink()


def _cut(place):
    file = place / "mine" / "manifest.json"
    file.write_bytes(file.read_bytes()[:200])


def _change(place):
    file = place / "mine" / "manifest.json"
    file.write_text(file.read_text().replace('"seed": 1', '"seed": 2'))


@pytest.mark.parametrize(
    "spoil, words",
    [
        (_append, "mine/kept.npy is not the published file: its SHA-256 is .*; nothing was writ"),
        (_remove, "scores/dual-seed1.npy is missing, though the table's manifest names it"),
        (_cut, "mine/manifest.json is not a whole manifest of a table"),
        (_change, "manifest.json is not a whole manifest .*was changed since dpkit wrote it"),
        (partial(alter, schema=99), "was written by a newer dpkit .*: update dpkit"),
        (partial(alter, kind="Pruning"), "must be of a Table, with rows.csv.*; it is of a Pruning"),
        (partial(alter, sha256={}), "must be of a Table, with rows.csv and kept.npy"),
        (partial(alter, sha256=["rows.csv"]), "is not a whole manifest of a table"),
    ],
)
@pytest.mark.parametrize("over", ["folder", "address"])
def test_what_is_not_the_published_table_is_refused_and_leaves_nothing(
    place, request, copies, spoil, words, over
):
    source = request.getfixturevalue("address") if over == "address" else place
    spoil(place)
    with pytest.raises(ValueError, match=words):
        dpkit.fetch("mine", source)
    assert not copies.exists() or not list(copies.iterdir())


@pytest.mark.parametrize("file", ["../../outside", "/etc/x", "scores/../../x", "a\\..\\b", "C:x"])
def test_a_manifest_cannot_name_a_file_outside_the_table(place, copies, file):
    said = json.loads((place / "mine" / "manifest.json").read_text())["sha256"]
    alter(place, sha256=said | {file: "0" * 64})
    with pytest.raises(ValueError, match="which would lie outside the table"):
        dpkit.fetch("mine", place)
    assert not copies.exists()


def test_what_a_network_does_not_give_at_once_is_asked_for_again(address, copies):
    address.faults |= {"kept.npy": [503, b"half"], "rows.csv": [b""]}
    check_copy(dpkit.fetch("mine", address).folder)
    assert address.requests.count("/mine/kept.npy") == 3


@pytest.mark.parametrize("fault, words", [(503, "HTTP 503"), (403, "HTTP 403"), (b"half", "")])
def test_an_address_that_does_not_give_a_file_leaves_nothing(address, copies, fault, words):
    address.faults["kept.npy"] = [fault] * 3
    with pytest.raises(ConnectionError, match=f"could not fetch .*kept.npy .*{words}.*; nothing"):
        dpkit.fetch("mine", address)
    assert not list(copies.iterdir())


def test_an_address_without_a_server_is_told(place):
    with pytest.raises(ConnectionError, match=r"could not fetch http://127.0.0.1:9/mine/man.*refu"):
        dpkit.fetch("mine", "http://127.0.0.1:9")


def test_a_killed_fetch_leaves_nothing_that_is_believed_and_the_next_one_starts_anew(
    place, copies, tmp_path
):
    """Killed while it reads a file that does not end: a pipe."""
    kept = (place / "mine" / "kept.npy").read_bytes()
    (place / "mine" / "kept.npy").unlink()
    os.mkfifo(place / "mine" / "kept.npy")
    code = f"import dpkit; dpkit.fetch('mine', {str(place)!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    pipe = None
    while pipe is None and process.poll() is None:
        try:
            pipe = os.open(place / "mine" / "kept.npy", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads it yet
            time.sleep(0.02)
    os.write(pipe, kept[:20])
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    os.close(pipe)
    assert copies.is_dir() and not (copies / "mine").exists()
    (place / "mine" / "kept.npy").unlink()
    (place / "mine" / "kept.npy").write_bytes(kept)
    with pytest.raises(ValueError, match="there is no public address"):
        dpkit.fetch("mine")
    check_copy(dpkit.fetch("mine", place).folder)
    assert list(copies.iterdir()) == [copies / "mine"]  # what it left is cleared


# ---- what it kept --------------------------------------------------------------------------------


def test_kept_sets_and_scores_are_found_by_method_ratio_and_seed(place):
    table = dpkit.fetch("mine", place)
    kept = table.kept(method="dual", prune_ratio=0.5, seed=1)
    assert isinstance(kept, Selection) and kept.kept.tolist() == OUTCOMES[5].selection.kept.tolist()
    assert kept.params == {"seed": 1, "row": 5}  # and the settings, where the rows tell them
    scores = table.scores(method="dual+beta", seed=0)
    assert np.array_equal(scores.values, OUTCOMES[4].scores.values.astype(np.float32))
    assert scores.name == "dual"
    assert table.rows.method.tolist() == [one.row.method for one in OUTCOMES]
    assert repr(table).endswith("mine'), 8 rows")


def of_options(c_d, kept):
    found = outcome(hand_row("dual+beta", 0.5, 0, 0.6, json.dumps({"c_d": c_d})))
    row = replace(found.row, settings={"c_d": c_d, "window": 10})
    return replace(found, row=row, selection=Selection(kept, N, "beta"))


def test_a_method_named_alone_is_the_one_with_its_usual_settings(tmp_path):
    several = [of_options(5.5, range(6)), of_options(4.0, range(1, 7))]
    table = publishing.publish(tmp_path / "t", several, title="Mine", command="-")
    table = dpkit.PublishedTable(table)
    usual = {"method": "dual+beta", "prune_ratio": 0.5, "seed": 0}
    assert table.kept(**usual).kept[0] == table.kept(**usual, c_d=4).kept[0] == 1
    assert table.kept(**usual).params == {"c_d": 4.0, "window": 10, "seed": 0, "row": 1}
    assert table.kept(**usual, c_d=np.float32(5.5)).kept[0] == 0
    assert table.kept(**usual | {"method": "dual+beta, c_d=5.5"}).kept[0] == 0
    with pytest.raises(ValueError, match=r"no row of .*c_d=3; of .*seed=0 it has c_d 5.5, 4.0$"):
        table.kept(**usual, c_d=3)


def test_rows_that_differ_are_not_guessed_and_rows_that_agree_are_one(tmp_path):
    one, other = OUTCOMES[4], OUTCOMES[6]
    other = replace(other, row=replace(one.row, model="resnet18"))
    wanted = {"method": "dual", "prune_ratio": 0.5, "seed": 0}
    table = publishing.publish(tmp_path / "t", [one, other], title="Mine", command="-")
    table = dpkit.PublishedTable(table)
    with pytest.raises(
        ValueError, match="2 rows of .* and they differ; name one: model='small_cnn' o"
    ):
        table.kept(**wanted)
    kept = table.kept(**wanted, model="resnet18").kept
    assert kept.tolist() == other.selection.kept.tolist()
    assert table.scores(method="dual", seed=0).num_samples == N  # both chose by these
    same = replace(other, selection=one.selection)
    table = publishing.publish(tmp_path / "same", [one, same], title="Mine", command="-")
    kept = dpkit.PublishedTable(table).kept(**wanted).kept
    assert kept.tolist() == one.selection.kept.tolist()


@pytest.mark.parametrize(
    "wanted, words",
    [
        ({"method": "duel"}, "no row of method='duel'; it has method random, dual, dual.beta, c_d"),
        ({"prune_ratio": 50}, "prune_ratio=50; of method='dual' it has prune_ratio 0.5$"),
        ({"seed": 7}, "seed=7; of method='dual', prune_ratio=0.5 it has seed 0, 1$"),
        ({"seed": "0"}, "seed='0'; of method='dual', prune_ratio=0.5 it has seed 0, 1$"),
        ({"seed": True}, "seed=True; of"),
        ({"c_q": 4}, "have no 'c_q'; they can be told apart by .*model"),
        ({"model": "vgg"}, "model='vgg'; of .* it has model small_cnn$"),
    ],
)
def test_a_row_that_is_not_there_is_told_what_there_is(place, wanted, words):
    table = dpkit.PublishedTable(place / "mine")
    with pytest.raises(ValueError, match=words):
        table.kept(**{"method": "dual", "prune_ratio": 0.5, "seed": 0} | wanted)


def test_a_method_without_scores_is_told_which_have_some(place):
    with pytest.raises(
        ValueError, match="no scores of method='random', seed=0; it has those of dual"
    ):
        dpkit.PublishedTable(place / "mine").scores(method="random", seed=0)


# ---- the command ---------------------------------------------------------------------------------


def test_the_command_prints_where_the_copy_is_or_what_there_is(place, copies, capsys, tmp_path):
    assert main(["fetch", "mine", "--from", str(place)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{copies / 'mine'}\n" and "files from" in told.err
    assert main(["fetch", "yours", "--from", str(place), "--to", str(tmp_path / "to")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'to' / 'yours'}\n"
    assert main(["fetch", "--from", str(place)]) == 0
    assert [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()] == [
        ["mine", "It is mine"],
        ["yours", "It is yours"],
    ]


def test_the_command_refuses_with_2_and_fails_with_1(place, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    for words, code in (
        (["fetch", "none", "--from", str(place)], 2),
        (["fetch"], 2),
        (["fetch", "mine", "--from", "http://127.0.0.1:9"], 1),
        (["fetch", "mine", "--from", str(place), "--to", str(tmp_path / "file")], 2),
    ):
        assert main(words) == code
        told = capsys.readouterr()
        assert told.out == "" and told.err.splitlines()[-1].startswith("dpkit: ")


# ---- what lies in results/ -----------------------------------------------------------------------


def test_the_list_of_the_committed_tables_is_current(tmp_path):
    told = json.loads((RESULTS / "index.json").read_text())
    storage.check_checksum(told, RESULTS / "index.json")
    assert told["tables"] == table_places.tables_in(RESULTS), "table_places.write_index('results')"
