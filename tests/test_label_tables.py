"""A table of labels beside a folder of images: columns named or guessed, splits, and what is wrong
with it in a sentence.
"""

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

import dpkit
from dpkit.data import image_files
from dpkit.data.image_set import labels_of, load
from dpkit.data.label_tables import Columns, list_table
from dpkit.data.named_sets import read_labels, set_name

CLASSES = ["wolf", "wolf spider"]
PIXELS = np.random.default_rng(0).integers(0, 256, (10, 6, 6, 3), dtype=np.uint8)
ROWS = [f"{i}.png,{CLASSES[i % 2]},{'val' if i % 3 == 2 else 'train'}" for i in range(8)]
TRAIN = [0, 1, 3, 4, 6, 7]


@pytest.fixture
def photos(tmp_path):
    """Ten images, 0.png to 9.png, in a folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def write(place, *rows, header="file_name,species,split"):
    place.write_text("\n".join([header, *rows]) + "\n")
    return place


def own(path, **more):
    return load(path, device="cpu", say=None, **more)


def pixels_of(images):
    return images.images.permute(0, 2, 3, 1).numpy()


def test_two_tables_of_one_folder_keep_their_pixels_in_the_cache(photos, monkeypatch):
    tables = [
        write(photos / f"{name}.csv", *rows, header="file_name,species")
        for name, rows in {"a": ["0.png,x", "1.png,y"], "b": ["2.png,x", "3.png,y"]}.items()
    ]
    before = [pixels_of(own(table, size=6)) for table in tables]
    monkeypatch.setattr(image_files, "read_picture", lambda *a, **k: pytest.fail("decoded again"))
    for table, pixels in zip(tables, before, strict=True):
        assert np.array_equal(pixels_of(own(table, size=6)), pixels)


# ---- what it is ----------------------------------------------------------------------------------


def test_a_table_beside_its_images_is_read_in_its_order_and_says_what_was_understood(photos):
    lines = []
    images = load(write(photos / "labels.csv", *ROWS), device="cpu", say=lines.append)
    assert np.array_equal(pixels_of(images), PIXELS[TRAIN])
    assert images.labels.tolist() == [i % 2 for i in TRAIN] and images.class_names == CLASSES
    assert images.paths == [f"{i}.png" for i in TRAIN]
    assert lines[0].splitlines() == [
        "photos/labels.csv: 6 images of 6x6 pixels, 3 channels, 2 classes: wolf 3, wolf spider 3",
        f"  labels.csv: images by the column file_name in {photos}, labels by the column species, "
        "splits by split",
        '  this is the split train; there are also split="val" (2 images)',
        "  left out: 2 images that the table does not name (8.png, 9.png)",
        "  the labels are numbered by their names: wolf is class 0, wolf spider is class 1",
    ]


@pytest.mark.parametrize("asked", ["val", "valid", "dev"])
def test_another_split_has_the_training_sets_classes_and_normalisation(photos, asked):
    # one class of the two, and the second one: by itself it would be class 0
    rows = [*ROWS[:2], "2.png,wolf spider,val"]
    table = write(photos / "labels.csv", *rows)
    images, val = own(table), own(table, split=asked)
    assert val.facts.class_names == images.facts.class_names and val.labels.tolist() == [1]
    assert (val.mean, val.std) == (images.mean, images.std)
    assert np.array_equal(pixels_of(val), PIXELS[2:3])
    assert not any("numbered" in note for note in val.notes)


def test_a_table_apart_from_its_images_names_their_folder(photos, tmp_path):
    table = write(tmp_path / "labels.csv", *ROWS)
    with pytest.raises(ValueError, match=rf"6 of the 6 .* seem to lie in {photos}, so name that"):
        own(table)
    images = own(table, images=photos)
    assert np.array_equal(pixels_of(images), PIXELS[TRAIN]) and images.name.endswith("/labels.csv")
    with pytest.raises(ValueError, match="there is no such folder"):
        own(table, images=tmp_path / "nowhere")


def test_a_table_may_name_its_images_by_absolute_paths(photos, tmp_path):
    rows = [f"{photos}/0.png,wolf", f"{photos}/1.png,owl", "../photos/1.png,owl", "2.png,owl"]
    table = write(tmp_path / "labels.csv", *rows, header="file_name,species")
    listing = list_table(table, columns=Columns(images=photos))
    images = own(table, images=photos)
    assert np.array_equal(pixels_of(images), PIXELS[:3])
    assert images.labels.tolist() == [1, 0, 0]
    assert "left out, as they repeat another row: 1" in listing.notes
    assert any("7 images that the table does not name (3.png" in note for note in listing.notes)

    write(table, *rows[:2], f"{photos}/../photos/0.png,owl", header="file_name,species")
    with pytest.raises(ValueError, match="names 1 images twice with different labels"):
        own(table)


def test_the_forms_of_a_table_are_one(photos):
    expected = own(write(photos / "labels.csv", *ROWS)).fingerprint
    header = "file_name,species,split"
    for name, between in {"l.tsv": "\t", "semi.csv": ";"}.items():
        changed = [row.replace(",", between) for row in ROWS]
        table = write(photos / name, *changed, header=header.replace(",", between))
        assert own(table).fingerprint == expected
    marked = photos / "marked.csv"  # as Excel writes it, with blanks after the commas
    write(marked, *[row.replace(",", ", ") for row in ROWS], header="\ufeff" + header)
    assert own(marked).fingerprint == expected
    lines = [json.dumps(dict(zip(header.split(","), row.split(","), strict=True))) for row in ROWS]
    (photos / "l.jsonl").write_text("\n".join(lines) + "\n\n")
    assert own(photos / "l.jsonl").fingerprint == expected


def test_a_parquet_file_is_read_or_names_the_package(photos):
    file = photos / "l.parquet"
    if importlib.util.find_spec("pyarrow") is None:
        file.write_bytes(b"PAR1")
        with pytest.raises(ValueError, match="takes the package pyarrow: pip install pyarrow, or"):
            own(file)
        return
    import pandas

    frame = pandas.DataFrame([row.split(",") for row in ROWS], columns=["file", "label", "split"])
    frame.to_parquet(file)
    assert own(file).fingerprint == own(write(photos / "labels.csv", *ROWS)).fingerprint


def test_the_metadata_of_hugging_face_is_found_in_its_folder(photos):
    write(photos / "metadata.csv", *ROWS)
    images = own(photos)
    assert images.name == "photos" and images.paths == [f"{i}.png" for i in TRAIN]
    assert labels_of(photos)[1] == images.paths
    assert any(note.startswith("metadata.csv: images by") for note in images.notes)
    for name in ("a", "b"):  # class folders: the file is about something else
        (photos / name).mkdir()
        Image.fromarray(PIXELS[0]).save(photos / name / "0.png")
    assert own(photos).class_names == ["a", "b"]


def test_names_without_their_ending_are_found(photos):
    images = own(write(photos / "l.csv", "3,cat", "5,dog", header="id,breed"))
    assert images.paths == ["3.png", "5.png"]
    assert "images by the column id, with .png added, in" in images.notes[0]


def test_columns_may_be_named(photos):
    table = write(photos / "l.csv", *ROWS, header="label,category,target")
    images = own(table, image_column="label", label_column="category", split_column="target")
    assert len(images) == 6
    assert own(table, label_column="target").class_names == ["train", "val"]
    with pytest.raises(ValueError, match="must be columns of their own"):
        own(table, label_column="target", split_column="target")


@pytest.mark.parametrize(
    ("given", "names", "note"),
    [
        (["7", "1", "7"], ["1", "7"], "numbered in order: 1 is class 0, 7 is class 1"),
        (["10", "9", "9"], ["9", "10"], "numbered in order: 9 is class 0, 10 is class 1"),
        (["1.0", "0.0", "1.0"], ["0", "1"], None),
        (["007", "7", "7"], ["007", "7"], "numbered by their names: 007 is class 0"),
        (["3_1", "1_3", "3_1"], ["1_3", "3_1"], "numbered by their names: 1_3 is class 0"),
        (["NA", "null", "NA"], ["NA", "null"], "by their names: NA is class 0, null is class 1"),
    ],
)
def test_numbers_are_classes_by_their_size_and_texts_stay_texts(photos, given, names, note):
    rows = [f"{i}.png,{label}" for i, label in enumerate(given)]
    images = own(write(photos / "l.csv", *rows, header="file,label"))
    assert images.class_names == names
    assert [images.class_names[k] for k in images.labels] == [
        str(int(float(label))) if note is None else label for label in given
    ]
    assert any("numbered" in said for said in images.notes) == (note is not None)
    assert note is None or any(note in said for said in images.notes)


def test_what_is_said_twice_is_kept_once_and_what_differs_is_refused(photos):
    images = own(write(photos / "l.csv", *ROWS, ROWS[0], "./1.png,wolf spider,train"))
    assert len(images) == 6 and "left out, as they repeat another row: 2" in images.notes
    for other in ("0.png,wolf spider,train", "0.png,wolf,val"):
        with pytest.raises(ValueError, match=r"names 1 images twice .*\(first: 0.png, wolf, train"):
            own(write(photos / "l.csv", *ROWS, other))


def test_a_split_without_labels_is_not_offered(photos):
    rows = [*ROWS, "8.png,,test", "9.png,,test"]
    images = own(write(photos / "l.csv", *rows))
    assert len(images) == 6
    assert "left out: the splits test, which have no labels" in images.notes
    with pytest.raises(ValueError, match="no splits that 'test' may mean; .* are train, val"):
        own(photos / "l.csv", split="test")


def test_labels_are_known_before_a_pixel_is_read(photos):
    table = write(photos / "l.csv", *ROWS)
    known, images = read_labels(table), own(table)
    assert known.labels.tolist() == images.labels.tolist() and known.notes == images.notes
    assert set_name(table) == images.name == "photos/l.csv"
    assert list_table(table, columns=Columns(label_column="split")).class_names == ["train", "val"]


def test_prune_takes_a_table_with_its_columns(photos, tmp_path):
    table = write(tmp_path / "l.csv", *ROWS, header="a,b,c")
    lines = []
    done = dpkit.prune(
        table,
        tmp_path / "out",
        method="random",
        prune_ratio=0.5,
        image_column="a",
        label_column="b",
        split_column="c",
        images=photos,
        say=lines.append,
    )
    kept, paths = dpkit.read_kept(tmp_path / "out")
    assert (done["keep"], done["num_samples"]) == (3, 6)
    assert paths == [f"{TRAIN[k]}.png" for k in kept] and "labels by the column b" in lines[0]


# ---- what is wrong -------------------------------------------------------------------------------

WRONG = {
    "missing": (["0.png,a", "x.png,a", "y.png,b"], r"2 of the 3 .* not in \S*photos \(x.png, y.p"),
    "no rows": ([], "must hold a row per image; it holds none"),
    "no label": (["0.png,a", "1.png,", "2.png,b"], "1 of 3 rows of l.csv have no label in the"),
    "no image": (["0.png,a", ",b"], "1 rows of l.csv have no name of an image in the column file"),
    "fractions": (["0.png,0.5", "1.png,1"], "one class label per image; the column label of .* f"),
    "several": (["0.png,a", "1.png,b", "2.png,a|b"], "one class label per image; .* several .*a|b"),
    "uneven": (["0.png,a", "1.png,b,c"], "l.csv has 2 columns, and line 3 has 3 cells: put texts"),
    "only case": (["0.png,Cat", "1.png,cat"], "'Cat' and 'cat' in labels of l.csv differ only in"),
    "form": (
        ["0.png,caf\u00e9", "1.png,cafe\u0301"],
        "differ only in capital letters or in their Unicode form",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_table_with_bad_rows_is_refused(photos, name):
    rows, message = WRONG[name]
    table = write(photos / "l.csv", *rows, header="file,label")
    with pytest.raises(ValueError, match=message) as refused:
        own(table)
    assert "\n" not in str(refused.value)


HEADERS = {
    "file,label,class": "labels of? ?l.csv|label, class may be it; name it, label_column=",
    "file,width,breed": "labels cannot be told: width, breed may be it; name it, label_column=",
    "a,b,": "which column of l.csv has the labels cannot be told|labels",
    "0.png,cat,x": "the first line of .* must name its columns, as in file_name,label; it is",
    "file,label,label": "two columns named label: rename one",
}


@pytest.mark.parametrize("header", HEADERS)
def test_columns_that_cannot_be_told_are_refused_with_their_names(photos, header):
    rows = [f"{i}.png,{'ab'[i % 2]},{'ab'[i // 2]}" for i in range(4)]
    table = write(photos / "l.csv", *rows, header=header)
    if header == "a,b,":  # the last one has no name, as pandas writes an index
        assert own(table).class_names == ["a", "b"]
        return
    with pytest.raises(ValueError, match=HEADERS[header]):
        own(table)


def test_more_that_is_refused(photos):
    one_hot = write(photos / "l.csv", "0.png,1,0", "1.png,0,1", header="file,cat,dog")
    with pytest.raises(ValueError, match=r"cat, dog\) make one, table\[columns\].idxmax\(axis=1\)"):
        own(one_hot)
    two = write(photos / "l.csv", "0.png,1.png,a", header="left,right,label")
    with pytest.raises(ValueError, match="left, right may be it; name it, image_column="):
        own(two)
    with pytest.raises(ValueError, match="l.csv has no column 'breed'; it has left, right, label"):
        own(two, label_column="breed")
    with pytest.raises(ValueError, match='no column of splits, so all of it is the split "train"'):
        own(two, split="val", image_column="left", label_column="label")
    some = write(photos / "l.csv", "0.png,a,train", "1.png,b,", header="file,label,split")
    with pytest.raises(ValueError, match="column split of l.csv has splits, and also '': name a"):
        own(some)
    with pytest.raises(ValueError, match="1 rows of l.csv have no split in the column split"):
        own(some, split_column="split")
    with pytest.raises(ValueError, match="there is no file .*none.csv: name a table"):
        own(photos / "none.csv")
    with pytest.raises(ValueError, match="classes names the class folders .* is a table: leave"):
        own(two, classes=["a"])
    with pytest.raises(ValueError, match="label_column and images must be left out: they go with"):
        own("digits", label_column="a", images="b")
    with pytest.raises(ValueError, match='a table has the labels "given"; got'):
        own(two, labels="worst")
    (photos / "l.csv").write_bytes("file,label\n0.png,Käse\n".encode("latin-1"))
    with pytest.raises(ValueError, match="is not UTF-8: save it as that"):
        own(photos / "l.csv")
    ids = [f"{i % 10}.png,{i}" for i in range(10)] + [f"./{i}.png,{i}" for i in range(10)]
    for k in range(10, 20):
        Image.fromarray(PIXELS[0]).save(photos / f"{k}.png")
    ids += [f"{i}.png,{i}" for i in range(10, 20)]
    with pytest.raises(ValueError, match="the column number of l.csv is different in every row"):
        own(write(photos / "l.csv", *ids, header="file,number"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"file_name": "0.png", "objects": {"bbox": [1]}}', "tables, as for detection: {'bbox'"),
        ('{"file_name": "0.png", "label": [1, 2]}', "has several for one image"),
        (
            '{"file_name": {"bytes": "x"}, "label": 1}',
            "must hold a name of an image each; got dict",
        ),
        ("[1, 2]", "line 1, must be a table in braces; got"),
        ("{", "line 1, is not JSON:"),
    ],
)
def test_lines_of_json_that_are_no_labels_are_refused(photos, line, message):
    (photos / "l.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        own(photos / "l.jsonl")


# ---- what is no set of one class per image -------------------------------------------------------

ONE_CLASS = "dpkit prunes sets with one class label per image; "


@pytest.mark.parametrize(
    "header, rows",
    [
        (
            "file,class,xmin,ymin,xmax,ymax",
            ["0.png,a,0,0,2,2", "0.png,b,1,1,3,3", "1.png,a,0,0,2,2"],
        ),
        ("image_id,label,bbox", ['0.png,a,"[0, 0, 2, 2]"', '0.png,a,"[1, 1, 2, 2]"', "1.png,b,[]"]),
        ("file,x_min,y_min,label", ["0.png,0,1,a", "1.png,2,1,b", "1.png,2,2,b"]),
    ],
)
def test_a_table_of_boxes_is_refused(photos, header, rows):
    with pytest.raises(
        ValueError, match=f"{ONE_CLASS}labels.csv has boxes .*1 more rows than imag"
    ):
        own(write(photos / "labels.csv", *rows, header=header))


def test_one_box_for_each_image_is_a_column_like_others(photos):
    rows = ["0.png,a,0,0", "1.png,b,1,1"]
    images = own(write(photos / "labels.csv", *rows, header="file,class,Roi.X1,Roi.Y1"))
    assert images.class_names == ["a", "b"]


def test_columns_of_several_ones_are_refused_and_of_one_made_a_column(photos):
    header = "file,cat,dog,bird"
    for rows in (
        ["0.png,1,1,0", "1.png,0,1,1"],
        ["0.png,True,False,True", "1.png,False,True,False"],
    ):
        with pytest.raises(ValueError, match=f"{ONE_CLASS}.* columns cat, dog, bird with 0 or 1"):
            own(write(photos / "labels.csv", *rows, header=header))
    with pytest.raises(ValueError, match="make one, table"):
        own(write(photos / "labels.csv", "0.png,1,0,0", "1.png,0,0,1", header="file,cat,dog,bird"))
    beside = write(
        photos / "labels.csv", "0.png,1,1,a", "1.png,0,1,b", header="file,night,wet,label"
    )
    assert own(beside).class_names == ["a", "b"]
    assert own(beside, label_column="night").class_names == ["0", "1"]


@pytest.mark.parametrize(
    "labels", [("cat;dog", "dog"), ("cat|dog", "dog"), ("cat|dog", "dog|owl"), ("a,b", "a", "b")]
)
def test_labels_that_join_others_are_refused(photos, labels):
    rows = [f'{k}.png,"{label}"' for k, label in enumerate(labels)]
    with pytest.raises(ValueError, match=f"{ONE_CLASS}.*several for one image: "):
        own(write(photos / "labels.csv", *rows, header="file,label"))
    with pytest.raises(ValueError, match=f"{ONE_CLASS}labels have several for one image: "):
        dpkit.data.from_arrays(PIXELS[: len(labels)], list(labels), device="cpu")


def test_a_name_with_a_comma_or_a_bar_is_one_class(photos):
    rows = ['0.png,"maillot, tank suit"', "1.png,maillot", "2.png,a;b"]
    assert len(own(write(photos / "labels.csv", *rows, header="file,label")).class_names) == 3


@pytest.mark.parametrize(
    "numbers", [("0.5", "1.25"), ("3.", "1.7"), ('"0,5"', '"1,5"'), ("1e-3", "2")]
)
def test_numbers_to_be_predicted_are_no_classes(photos, numbers):
    rows = [f"{k}.png,{number}" for k, number in enumerate(numbers)]
    with pytest.raises(ValueError, match=f"{ONE_CLASS}.* numbers with fractions"):
        own(write(photos / "labels.csv", *rows, header="file,target"))


# ---- splits that are told by true and false ------------------------------------------------------


@pytest.mark.parametrize(
    "header, flags, train",
    [
        ("is_train", ["True", "False", "1", "0"], [0, 2]),
        ("is_test", ["0", "1", "0", "1"], [0, 2]),
        ("is_valid", ["False", "True", "False", "True"], [0, 2]),
        ("is_train,is_test", ["1,0", "0,1", "1,0", "0,1"], [0, 2]),
        ("is_valid,is_test", ["0,0", "0,1", "0,0", "1,0"], [0, 2]),
    ],
)
def test_columns_of_true_and_false_tell_splits(photos, header, flags, train):
    rows = [f"{k}.png,{'ab'[k // 2]},{flag}" for k, flag in enumerate(flags)]
    table = write(photos / "labels.csv", *rows, header=f"file,species,{header}")
    images = own(table)
    assert np.array_equal(pixels_of(images), PIXELS[train])
    other = "val" if header == "is_valid" else "test"
    assert pixels_of(own(table, split=other))[0].tolist() == PIXELS[1].tolist()
    assert f"splits by {header.replace(',', ' and ')}" in images.describe()


def test_a_row_of_two_splits_is_refused_and_a_flag_without_training_rows_is_no_split(photos):
    header = "file,label,is_train,is_test"
    table = write(photos / "labels.csv", "0.png,a,1,0", "1.png,b,1,1", header=header)
    with pytest.raises(ValueError, match="row 1 .* is of several splits by .*is_train, is_test"):
        own(table)
    assert len(own(table, split_column="is_train")) == 2
    table = write(photos / "labels.csv", "0.png,a,1", "1.png,b,1", header="file,label,is_valid")
    assert len(own(table)) == 2


def test_a_split_with_unknown_classes_is_offered_with_that_said(photos):
    rows = ["0.png,a,train", "1.png,b,train", "2.png,c,test", "3.png,a,val"]
    told = own(write(photos / "labels.csv", *rows, header="file,label,split")).describe()
    assert 'split="test" (1 images, of classes that this split has not: c)' in told
    assert 'split="val" (1 images)' in told


def test_the_number_and_the_name_of_a_class_are_one_label(photos):
    """As in samples.csv, which `prune` writes and `dpkit export` takes out."""
    header = "id,path,label,class_name,score,rank,kept"
    rows = ["4,0.png,1,cat,0.5,2,true", "7,1.png,3,dog,0.75,1,true", "9,2.png,1,cat,0.1,3,true"]
    images = own(write(photos / "part.csv", *rows, header=header))
    assert images.class_names == ["cat", "dog"] and images.labels.tolist() == [0, 1, 0]
    rows[2] = "9,2.png,1,dog,0.1,3,true"  # they differ: which one is meant?
    with pytest.raises(ValueError, match="label, class_name may be it"):
        own(write(photos / "part.csv", *rows, header=header))


# ---- blanks --------------------------------------------------------------------------------------


def test_blanks_around_the_name_of_a_file_stay_where_it_has_them(photos):
    (photos / " in").mkdir()
    names = [" 0.png", "1 .png", " in/2.png", "3.png"]
    for k, name in enumerate(names):
        (photos / f"{k}.png").rename(photos / name)
    rows = [f'"{name}",{"ab"[k % 2]}' for k, name in enumerate(names)]
    for table in (
        write(photos / "labels.csv", *rows, header="file,label"),
        write(photos / "labels.csv", *rows[:3], " 3.png ,b", header="file,label"),
    ):
        images = own(table)
        assert images.paths == names and np.array_equal(pixels_of(images), PIXELS[:4])
    lines = [json.dumps({"file_name": name, "label": "a"}) for name in names[:2]]
    (photos / "l.jsonl").write_text("\n".join(lines))
    assert own(photos / "l.jsonl").paths == names[:2]


def test_a_file_that_is_there_with_and_without_blanks_is_meant_without(photos):
    (photos / " 0.png").write_bytes((photos / "1.png").read_bytes())
    images = own(write(photos / "labels.csv", "0.png,a", "1.png,b", header="file,label"))
    assert images.paths == ["0.png", "1.png"]
