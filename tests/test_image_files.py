"""Image files of every kind: read as a viewer shows them, or named; never lost without a word."""

import os
import warnings

import numpy as np
import pytest
from PIL import Image, features

import dpkit
from dpkit.cli import main
from dpkit.data import image_files
from dpkit.data.class_folders import list_folder, read_images
from dpkit.data.image_set import load
from dpkit.experiments.pruning import prune
from dpkit.storage.long_work import duration


def noise(seed=0, width=12, height=8):
    draw = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(draw)


def write(file, picture=None, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    (picture or noise(sum(map(ord, file.name)))).save(file, **options)
    return file


def write_folder(folder, n=3):
    for name in ("cats", "dogs"):
        for k in range(n):
            write(folder / name / f"{k}.png")
    return folder


def read(folder, **options):
    return load(folder, device="cpu", say=None, **options)


def pixels_of(images, row):
    return images.images[row].permute(1, 2, 0).numpy()


# ---- kinds ---------------------------------------------------------------------------------------


def test_more_kinds_than_torchvisions_are_read_and_told(tmp_path):
    folder = write_folder(tmp_path / "set")
    write(folder / "cats" / "a.jfif", format="JPEG")
    frames = [Image.new("RGB", (12, 8), colour) for colour in ("red", "blue", "green")]
    write(folder / "cats" / "b.GIF", frames[0], save_all=True, append_images=frames[1:])
    images = read(folder)
    assert images.paths[3:5] == ["cats/a.jfif", "cats/b.GIF"] and len(images) == 8
    assert (pixels_of(images, 4) == (255, 0, 0)).all()  # its first frame
    assert images.notes == (
        "2 files are read, of a GIF its first frame, that torchvision's ImageFolder leaves out "
        "(cats/a.jfif, cats/b.GIF): go by the paths, not by its ids",
    )


@pytest.mark.parametrize("kind", ["avif", "webp"])
def test_what_pillow_can_read_here_is_read(tmp_path, kind):
    if not features.check(kind):
        pytest.skip(f"this Pillow has no {kind}")
    folder = write_folder(tmp_path / "set")
    file = write(folder / "cats" / f"z.{kind}", quality=95)
    assert np.array_equal(pixels_of(read(folder), 3), np.asarray(Image.open(file).convert("RGB")))


def test_the_endings_of_image_folder_are_torchvisions():
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert set(IMG_EXTENSIONS) == set(image_files.IMAGE_FOLDERS)


def test_what_pillow_cannot_read_here_is_counted_among_the_unread(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "set")
    (folder / "cats" / "z.webp").write_bytes(b"")
    with monkeypatch.context() as without:
        without.setattr(features, "check", lambda feature: False)
        image_files.image_endings.cache_clear()
        listing = list_folder(folder)
    image_files.image_endings.cache_clear()
    assert len(listing.paths) == 6 and any("cats/z.webp" in note for note in listing.notes)


def test_pictures_of_other_kinds_loose_images_and_other_files_are_counted_and_named(tmp_path):
    folder = write_folder(tmp_path / "set")
    for name in ("cats/a.HEIC", "cats/b.heic", "dogs/c.svg", "dogs/notes.txt", "dogs/none"):
        (folder / name).write_bytes(b"")
    write(folder / "cover.png")
    images = read(folder)
    assert len(images) == 6 and images.notes == (
        "left out: 1 images outside the class folders (cover.png)",
        "left out: 3 pictures of kinds that are not read, 2 .heic, 1 .svg (cats/a.HEIC, "
        "cats/b.heic, dogs/c.svg): convert them to JPEG",
        "left out: 2 files that are no images (dogs/none, dogs/notes.txt)",
    )


def test_a_folder_of_nothing_but_unread_pictures_says_so(tmp_path):
    for name in ("cats/a.heic", "dogs/b.heic"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"holds no image: .*but 2 that are not read \(cats/a\.heic, .*: convert"
    ):
        read(tmp_path)


# ---- upright -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_photograph_is_turned_as_a_viewer_shows_it(tmp_path, kind, orientation):
    from PIL import ImageOps

    half = np.zeros((24, 24, 3), np.uint8)
    half[:8, :16] = 220
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("cats/0", "cats/1", "dogs/0", "dogs/1"):
        file = write(tmp_path / "set" / f"{name}.{kind}", Image.fromarray(half), exif=exif)
    upright = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    images = read(tmp_path / "set")
    assert np.array_equal(pixels_of(images, 3), np.asarray(upright))
    corners = np.asarray(upright)[4::16, 4::16, 0] > 110  # two of four are bright
    small = pixels_of(read(tmp_path / "set", size=6), 3)[1::4, 1::4, 0] > 110
    assert np.array_equal(small, corners) and corners.sum() == 1


def test_photographs_that_are_alike_once_upright_need_no_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = write_folder(tmp_path / "set")
    write(folder / "cats" / "9.jpg", noise(1, width=8, height=12), exif=exif)
    assert read(folder).images.shape == (7, 3, 8, 12)
    write(folder / "dogs" / "9.jpg", noise(1, width=8, height=12))
    with pytest.raises(ValueError, match="images must be of one size; .* is 8x12"):
        read(folder)


# ---- large ---------------------------------------------------------------------------------------


def test_an_image_above_the_limit_is_read_with_another_limit(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "set")
    write(folder / "dogs" / "large.png", noise(0, 40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(
        ValueError,
        match=r"1 of 7 images cannot be read: \S*large\.png \(.*limit of 1,000.*--max-pixels",
    ):
        read(folder, size=8)
    with pytest.raises(
        ValueError, match=r"has 1,600 pixels, more than the limit of 1,599: max_pixels=1600"
    ):
        read(folder, size=8, max_pixels=1599)
    with monkeypatch.context() as half:
        half.setattr(Image, "MAX_IMAGE_PIXELS", 900)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(read(folder, size=8)) == 7  # below the limit: not a word
    assert len(read(folder, size=8, max_pixels=1600)) == 7 and Image.MAX_IMAGE_PIXELS == 500
    out = tmp_path / "out"
    command = ["prune", str(folder), "--size", "8", "--ratio", "0.5", "--out", str(out)]
    training = ["--method", "aum", "--epochs", "1", "--batch-size", "4"]
    assert main([*command, *training, "--max-pixels", "1600"]) == 0
    assert main(["export", str(out), "npz", "--to", str(tmp_path / "pixels")]) == 0


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "8"])
def test_a_limit_that_is_no_number_of_pixels_is_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="max_pixels must be a whole number of pixels"):
        read(write_folder(tmp_path / "set"), max_pixels=wrong)


# ---- broken --------------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path):
    """20 images, of which 5 cannot be read."""
    folder = write_folder(tmp_path / "set", n=10)
    for k in range(4):
        file = write(folder / "cats" / f"t{k}.jpg", noise(k, 64, 64).resize((12, 8)), quality=95)
        file.write_bytes(file.read_bytes()[: -20 * (k + 1)])
    (folder / "dogs" / "3.png").write_bytes(b"<html>404</html>")
    return folder


def test_all_broken_files_are_listed_in_a_file(broken, tmp_path):
    for _ in range(2):  # the second time nothing is decoded
        with pytest.raises(ValueError, match=r"^5 of 24 images cannot be read: .*t2\.jpg") as told:
            read(broken)
        said = str(told.value)
        assert "and 2 more (all are listed in " in said and "(--skip-broken)" in said
        listed = said.partition("(all are listed in ")[2].partition(")")[0]
        assert listed.startswith(str(tmp_path / "cache"))
        with open(listed) as lines:
            rows = [line.rstrip("\n").split("\t") for line in lines]
        assert [path for path, _ in rows] == [
            *(str(broken / "cats" / f"t{k}.jpg") for k in range(4)),
            str(broken / "dogs" / "3.png"),
        ]
        assert (
            all("truncated" in why.lower() for _, why in rows[:4])
            and rows[4][1] == "cannot be identified as an image"
        )


def test_broken_files_are_left_out_on_request_and_ids_are_of_the_others(broken, monkeypatch):
    images = read(broken, skip_broken=True)
    assert len(images) == images.total == 19 and images.labels.bincount().tolist() == [10, 9]
    assert "dogs/3.png" not in images.paths and "cats/t0.jpg" not in images.paths
    for row in (0, 9, 10, 13, 18):
        assert np.array_equal(
            pixels_of(images, row), np.asarray(Image.open(broken / images.paths[row]))
        )
    [note] = images.notes
    assert note.startswith(
        "left out: 5 images that cannot be read (cats/t0.jpg, cats/t1.jpg, cats/t2.jpg and 2 more; "
        "all in "
    )
    monkeypatch.setattr(image_files, "read_picture", lambda *a, **k: pytest.fail("decoded again"))
    assert read(broken, skip_broken=True).paths == images.paths
    with pytest.raises(ValueError, match="5 of 24"):
        read(broken)


def test_a_set_with_the_names_sizes_and_times_of_another_has_its_own_pixels(tmp_path):
    for k, name in enumerate(("one", "two")):
        for place in ("cats", "dogs"):
            write(tmp_path / name / place / "0.bmp", noise(k))
            write(tmp_path / name / place / "1.bmp", noise(k + 9))
        for file in (tmp_path / name).rglob("*.bmp"):
            os.utime(file, (0, 0))
    one, two = (read(tmp_path / name) for name in ("one", "two"))
    assert np.array_equal(pixels_of(one, 0), np.asarray(noise(0)))
    assert np.array_equal(pixels_of(two, 0), np.asarray(noise(1)))


def test_a_truncated_photograph_is_broken_at_a_fraction_of_its_size_too(broken):
    for kind, more in (("jpg", {}), ("jpeg", {"progressive": True})):
        file = write(broken / "dogs" / f"large.{kind}", noise(0, 400, 400), **more)
        file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="7 of 26 images cannot be read"):
        read(broken, size=4)


@pytest.mark.parametrize("seconds", [0, 20])
def test_parts_of_the_work_know_their_broken_files(broken, monkeypatch, seconds):
    monkeypatch.setattr(image_files, "PART", 4)
    monkeypatch.setattr(image_files, "SAVED_AFTER", seconds)
    images = read(broken, skip_broken=True)
    whole = [np.asarray(Image.open(broken / path)) for path in images.paths]
    assert np.array_equal(images.images.permute(0, 2, 3, 1), whole) and len(whole) == 19


def test_a_class_of_which_nothing_is_left_is_refused(tmp_path):
    folder = write_folder(tmp_path / "set")
    for file in folder.glob("dogs/*"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="no image of class dogs can be read .*listed in"):
        read(folder, skip_broken=True)


def test_prune_leaves_broken_files_out_whatever_the_method(broken, tmp_path, capsys):
    command = ["prune", str(broken), "--ratio", "0.5", "--method", "random"]
    for method in (["--method", "random"], ["--method", "aum", "--epochs", "1", "--size", "8"]):
        out = str(tmp_path / method[1])
        command = ["prune", str(broken), "--ratio", "0.5", "--out", out, *method]
        assert main([*command, "--skip-broken"]) == 0
        assert "left out: 5 images that cannot be read" in capsys.readouterr().err
        ids, paths = dpkit.read_kept(out)
        all_paths = read(broken, skip_broken=True).paths
        assert [all_paths[i] for i in ids] == paths and len(ids) == 10
        assert main(["export", out, "npz", "--to", f"{out}-pixels"]) == 0
        assert main(["export", out, "ids"]) == 0
        assert "careful: this was pruned with broken files left out" in capsys.readouterr().err


def test_a_listing_of_any_kind_can_be_read(tmp_path):
    folder = write_folder(tmp_path / "set")
    (folder / "cats" / "1.png").write_bytes(b"")
    labels = np.array([1, 0, 1])
    listing = image_files.Listing(
        folder, ["dogs/1.png", "cats/1.png", "cats/0.png"], labels, ["x", "y"], ("a note",)
    )
    with pytest.raises(ValueError, match="no image of class x can be read"):
        read_images(listing, 4, skip_broken=True)
    other = image_files.Listing(folder, ["dogs/1.png", "cats/0.png"], labels[:2], ["x", "y"])
    assert image_files.read_pixels(other, 4).shape == (2, 4, 4, 3)


@pytest.mark.parametrize("option", [{"max_pixels": 9}, {"skip_broken": True}])
def test_options_of_files_are_refused_where_there_are_none(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be left out, as digits is no"):
        read("digits", **option)


# ---- while reading -------------------------------------------------------------------------------


def test_the_time_left_is_told_by_the_rate_of_the_last_seconds(tmp_path, monkeypatch):
    """The first file comes after 100 s of looking at all of them; then it goes at 64 a second, and
    from the half on at 16.
    """
    from dpkit.experiments import pruning_source

    now = [0.0]
    monkeypatch.setattr(pruning_source.time, "monotonic", lambda: now[0])

    def read_slowly(data, *, on_progress, **more):
        now[0] += 100
        for done in range(64, 6401, 64):
            on_progress(done, 6400)
            now[0] += 1 if done < 3200 else 4
        raise ValueError("that is all")

    monkeypatch.setattr(pruning_source, "load", read_slowly)
    lines = []
    with pytest.raises(ValueError, match="that is all"):
        prune("digits", tmp_path / "out", prune_ratio=0.5, say=lines.append)
    reading = [line for line in lines if line.startswith("read ")]
    left = {
        int(line.split()[1].replace(",", "")): line.rpartition(", ")[2] for line in reading[:-1]
    }
    assert left[384] == "1 min 34 s left" and min(left) == 384  # before, there is no estimate
    late = min(done for done in left if done >= 4096)
    assert (
        left[late] == f"{duration((6400 - late) / 16)} left"
        and reading[-1] == "read 6,400 of 6,400 images"
    )


def test_many_classes_that_vanish_are_ten_names_a_count_and_a_cure(tmp_path, capsys):
    folder = tmp_path / "set"
    for k in range(40):
        for name in range(2):
            write(folder / f"c{k:02d}" / f"{name}.png", noise(k, 2, 2))
    command = ["prune", str(folder), "--ratio", "0.9", "--method", "random"]
    assert main([*command, "--out", str(tmp_path / "a")]) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if "no sample of class" in line]
    gone = 40 - len({path.split("/")[0] for path in dpkit.read_kept(tmp_path / "a")[1]})
    assert len(line) < 300
    assert (
        f"and {gone - 10} more is kept ({gone} of 40 classes); prune less, keep as many of " in line
    )
    assert "each (--set per_class=balanced), or choose another method" in line
    images = read(folder)
    with pytest.warns(UserWarning, match=r"c10 and 29 more: .*per_class=\"balanced\""):
        images.subset([0])


def test_links_and_names_are_read_as_they_lie(tmp_path):
    folder = write_folder(tmp_path / "set")
    os.symlink(folder / "cats" / "0.png", tmp_path / "a.png")
    os.symlink(tmp_path / "a.png", folder / "dogs" / "linked.png")
    assert len(read(folder)) == 6  # it is in the set already
