"""The session on a lent GPU, as far as it can be tried without one."""

import numpy as np
import pytest

from benchmarks import gpu_session


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """(the arrays of a set, the folder of its parts)."""
    monkeypatch.setattr(gpu_session, "PART", 1000)
    arrays = {
        "train_images": np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8),
        "class_names": np.array(["cat", "dog"]),
    }
    np.savez(tmp_path / "small.npz", **arrays)
    parts = gpu_session.pack(tmp_path / "small.npz", tmp_path / "parts")
    assert len(parts) > 3 and max(part.stat().st_size for part in parts) <= 1000
    return arrays, tmp_path / "parts"


def test_a_set_comes_out_of_its_parts_as_it_went_in(packed, tmp_path):
    arrays, folder = packed
    (file,) = gpu_session.join(folder, tmp_path / "there")
    found = np.load(file, allow_pickle=False)
    assert file.name == "small.npz" and set(found.files) == set(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)


def test_parts_that_are_missing_or_changed_are_told(packed, tmp_path):
    _, folder = packed
    part = folder / "small.npz.001"
    content = part.read_bytes()
    part.write_bytes(b"x" + content[1:])
    with pytest.raises(ValueError, match="parts of small.npz .* are not those that were packed"):
        gpu_session.join(folder, tmp_path / "there")
    part.unlink()
    with pytest.raises(ValueError, match=r"small.npz.001 of small.npz is missing"):
        gpu_session.join(folder, tmp_path / "there")
    assert not (tmp_path / "there" / "small.npz").exists()


def test_packages_that_a_machine_lacks_are_named(monkeypatch):
    assert gpu_session.missing_packages() == []
    real = gpu_session.find_spec
    monkeypatch.setattr(
        gpu_session, "find_spec", lambda name: None if name in ("PIL", "numba") else real(name)
    )
    lacking = [line.partition(">")[0] for line in gpu_session.missing_packages()]
    assert lacking == ["numba", "pillow"]


def test_a_part_that_fails_takes_no_other_with_it(tmp_path, monkeypatch):
    def broken(session):
        yield {"first": 1}
        raise RuntimeError("no memory")

    for name in ("tests", "workers", "tables"):
        monkeypatch.setattr(gpu_session, name, broken)
    session = gpu_session.Session("cpu", True, tmp_path, begun=0.0, minutes=1e9)
    rows = list(gpu_session.measurements(session))
    assert rows.count({"broken": "RuntimeError: no memory"}) == 3
    assert [row["record"] for row in rows if "steps" in row] == ["off", "on", "with tdds"]
    assert all(row["steps_per_second"] > 0 for row in rows if "steps" in row)
