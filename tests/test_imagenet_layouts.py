"""ImageNet, TinyImageNet and Imagenette as they are downloaded, in small."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

import dpkit
from dpkit.cli import main
from dpkit.data.class_folders import list_folder
from dpkit.data.image_set import load

TENCH, CRANE, SPRINGER = "n01440764", "n03126707", "n02102040"
LOW = ["n01440764", "n02102040"]


def write(file, shade=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(file, "JPEG")


def read(folder, **options):
    return load(folder, device="cpu", say=None, **options)


def write_train(folder, wnids=LOW, inner="", n=2):
    for wnid in wnids:
        for k in range(n):
            write(folder / wnid / inner / f"{wnid}_{k}.JPEG", 9 * k)


@pytest.fixture
def tiny(tmp_path):
    """tiny-imagenet-200.zip"""
    folder = tmp_path / "tiny-imagenet-200"
    write_train(folder / "train", inner="images", n=3)
    for wnid in LOW:
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("0 0 62 62")
    rows = [f"val_{k}.JPEG\t{LOW[k % 2]}\t0\t32\t44\t62\n" for k in range(4)]
    (folder / "val").mkdir()
    (folder / "val" / "val_annotations.txt").write_text("".join(rows))
    for k in range(4):
        write(folder / "val" / "images" / f"val_{k}.JPEG")
        write(folder / "test" / "images" / f"test_{k}.JPEG")
    (folder / "wnids.txt").write_text("\n".join(LOW))
    words = ["n00001740\tentity", "n01440764\ttench, Tinca tinca", "n02102040\tspringer, spaniel"]
    (folder / "words.txt").write_text("\n".join(words))
    return folder


NAMES = ["n01440764 tench", "n02102040 springer"]


def test_tiny_imagenet(tiny):
    images = read(tiny)
    assert images.class_names == NAMES and images.labels.tolist() == [0] * 3 + [1] * 3
    assert images.paths[0] == "train/n01440764/images/n01440764_0.JPEG"
    assert images.notes[:2] == (
        'this is the training split, train; there are also split="val" (val, 4 images)',
        "test has 4 images without labels",
    )
    val = read(tiny, split="val")
    assert val.paths == [f"val/images/val_{k}.JPEG" for k in range(4)]
    assert val.labels.tolist() == [0, 1, 0, 1] and val.class_names == NAMES
    with pytest.raises(ValueError, match="the split test of .* has 4 images without labels"):
        read(tiny, split="test")


def test_a_part_of_it_is_called_by_the_same_names(tiny):
    images = read(tiny)
    assert read(tiny / "train").class_names == NAMES
    assert read(tiny / "train", classes=LOW).class_names == NAMES
    (tiny / "words.txt").unlink()
    assert read(tiny / "train", like=images).class_names == NAMES


def test_a_val_folder_that_was_sorted_is_read_as_such(tiny):
    for k in range(4):
        place = tiny / "val" / LOW[k % 2] / "images"
        place.mkdir(parents=True, exist_ok=True)
        (tiny / "val" / "images" / f"val_{k}.JPEG").rename(place / f"val_{k}.JPEG")
    assert read(tiny, split="val").labels.tolist() == [0, 0, 1, 1]


def test_prune_writes_paths_and_shows_words(tiny, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["prune", str(tiny), "--ratio", "0.5", "--method", "random", "--out", out]) == 0
    assert "n01440764 tench 3, n02102040 springer 3" in capsys.readouterr().err
    assert all((tiny / path).is_file() for path in dpkit.read_kept(out)[1])


def flat_val(folder, n=4):
    for k in range(1, n + 1):
        write(folder / f"ILSVRC2012_val_{k:08d}.JPEG")


def test_imagenet_with_the_devkit(tmp_path):
    folder = tmp_path / "imagenet"
    write_train(folder / "train")
    flat_val(folder / "val")
    data = folder / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("2\n1\n3\n2\n")
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(1, TENCH, "tench", 0), (2, SPRINGER, "springer", 0), (3, CRANE, "crane", 0)]
    savemat(data / "meta.mat", {"synsets": np.array(rows, dtype=kind)})
    val = read(folder, split="val")
    assert val.labels.tolist() == [1, 0, 1] and val.paths[2] == "val/ILSVRC2012_val_00000004.JPEG"
    assert "val has 1 images more, 1 of other classes and 0 without a label" in val.notes
    (folder / "val" / "ILSVRC2012_val_00000001.JPEG").unlink()  # by number, not by place
    assert read(folder, split="val").labels.tolist() == [0, 1]


@pytest.mark.parametrize("given", ["", "ILSVRC/Data/CLS-LOC"])
def test_imagenet_from_kaggle(tmp_path, given):
    base = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    write_train(base / "train")
    flat_val(base / "val", 3)
    write(base / "test" / "ILSVRC2012_test_00000001.JPEG")
    (tmp_path / "ILSVRC" / "Annotations").mkdir()
    (tmp_path / "LOC_synset_mapping.txt").write_text("n01440764 tench, Tinca\nn02102040 springer\n")
    (tmp_path / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000002,n01440764 85 1 499 272 n01440764 0 0 9 9 \n"
        "ILSVRC2012_val_00000001,n02102040 1 2 3 4 \n"
    )
    folder = tmp_path / given
    images, val = read(folder), read(folder, split="val")
    assert images.class_names == val.class_names == NAMES
    assert val.labels.tolist() == [1, 0]
    assert any(
        note.endswith("val has 1 images more, 0 of other classes and 1 without a label")
        for note in val.notes
    )
    assert any("test has 1 images without labels" in note for note in images.notes)
    assert (folder / images.paths[0]).is_file() and (folder / val.paths[0]).is_file()


def test_a_val_folder_without_its_list_is_not_offered(tmp_path):
    write_train(tmp_path / "train")
    flat_val(tmp_path / "val")
    assert "val has 4 images without labels" in read(tmp_path).notes
    with pytest.raises(ValueError, match="LOC_val_solution.csv"):
        read(tmp_path, split="val")


def test_imagenette_has_words_without_a_file(tmp_path):
    folder = tmp_path / "imagenette2-160"
    for split in ("train", "val"):
        write_train(folder / split)
    (folder / "noisy_imagenette.csv").write_text("")
    listing = list_folder(folder)
    assert listing.class_names == ["n01440764 tench", "n02102040 English springer"]
    assert read(folder, split="val").labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"the splits lie in that .*give \S*imagenette2-160"):
        read(tmp_path)


def test_other_names_stay_as_they_are(tmp_path):
    (tmp_path / "words.txt").write_text("cat\tfeline")
    for name in ("cat", "dog"):
        write(tmp_path / name / "0.jpg"), write(tmp_path / name / "1.jpg")
    assert list_folder(tmp_path).class_names == ["cat", "dog"]
