"""Whatever form a data set comes in, the same labels come out; the odd ones are told in one line."""

import logging
import os
import shutil
import unicodedata
import zipfile
from pathlib import Path

import pytest

from src import data
from src.config import PART_NAMES, Paths
from src.datasets.layouts import find_readings
from src.datasets.listing import read_label
from src.sample import draw_sample

PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "shared" / "data"

KAGGLE = [*(f"cat.{i}.jpg" for i in range(3)), *(f"dog.{i}.jpg" for i in range(2))]
CLASSES = [*(f"Cat/{i}.jpg" for i in range(3)), *(f"Dog/{i}.jpg" for i in range(2))]
TEST = ["1.jpg", "2.jpg"]


def fill(folder: Path, names: list[str], inside: str = "") -> Path:
    for name in names:
        path = folder / inside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture " + name.encode())
    return folder


def pack(path: Path, names: list[str], inside: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(inside + name, b"picture " + name.encode())
    return path


def label(name: str) -> str | None:
    """The label rule of the design, word for word, for a path below the canonical folder."""
    *folders, file = name.split("/")
    if folders:
        return None if folders[-1].lower() in PART_NAMES else folders[-1].lower()
    return file.split(".")[0].lower() if file.count(".") == 2 else None


def labels(folder: Path) -> list[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    return sorted(filter(None, map(label, names)))


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path / "input", tmp_path / "data", tmp_path / "output")


def snapshot(folder: Path) -> dict:
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


def make_kaggle_zips(top: Path) -> None:
    pack(top / "train.zip", KAGGLE, "train/")
    pack(top / "test1.zip", TEST, "test1/")
    (top / "sampleSubmission.csv").write_text("id,label\n1,0\n")


def make_unpacked_kaggle(top: Path) -> None:
    fill(top, KAGGLE, "train")
    fill(top, TEST, "test1")


def make_zip_of_zips(top: Path) -> None:
    make_kaggle_zips(top / "inner")
    with zipfile.ZipFile(top / "dogs-vs-cats.zip", "w") as archive:
        for path in sorted((top / "inner").iterdir()):
            archive.write(path, path.name)
    shutil.rmtree(top / "inner")


def make_parts(top: Path) -> None:
    fill(top, ["cats/cat.0.jpg", "cats/cat.1.jpg", "dogs/dog.0.jpg"], "train")
    fill(top, ["cats/cat.2.jpg", "dogs/dog.1.jpg"], "validation")
    fill(top, ["vectorize.py"])


def make_twice_nested_parts(top: Path) -> None:
    fill(top, ["cats/cat.0.jpg", "cats/cat.1.jpg", "dogs/dog.0.jpg"], "archive/training_set/training_set")
    fill(top, ["cats/cat.2.jpg", "dogs/dog.1.jpg"], "archive/test_set/test_set")


# Each form holds three cats and two dogs; with it, where the canonical folder has to be.
FORMS = {
    "kaggle's zips side by side": (make_kaggle_zips, "unpacked/train-*/train"),
    "the same unpacked": (make_unpacked_kaggle, "top/train"),
    "a zip and its unpacked folder": (
        lambda top: (make_kaggle_zips(top), make_unpacked_kaggle(top)),
        "top/train",
    ),
    "flat without a folder": (lambda top: fill(top, [*KAGGLE, "5.jpg", "Thumbs.db"]), "top"),
    "class folders": (
        lambda top: fill(top, [*CLASSES, "Cat/Thumbs.db", "readme[1].txt"], "PetImages"),
        "top/PetImages",
    ),
    "class folders nested twice": (lambda top: fill(top, CLASSES, "a/b"), "top/a/b"),
    "class folders and a stray picture folder": (
        lambda top: (fill(top, CLASSES, "PetImages"), fill(top, ["x.png"], "docs")),
        "top/PetImages",
    ),
    "parts": (make_parts, "top"),
    "parts of other names": (
        lambda top: (fill(top, CLASSES[:4], "train"), fill(top, CLASSES[4:], "dev")),
        "top",
    ),
    "parts nested twice": (make_twice_nested_parts, "top/archive"),
    "parts and unlabelled test": (lambda top: (make_parts(top), fill(top, TEST, "test")), "top"),
    "one part": (lambda top: (fill(top, CLASSES, "train"), fill(top, TEST, "test")), "top/train"),
    "zip of class folders": (
        lambda top: pack(top / "k.zip", CLASSES, "PetImages/"),
        "unpacked/k-*/PetImages",
    ),
    "zip made on a Mac": (
        lambda top: pack(top / "k.zip", [*CLASSES, *(f"__MACOSX/._{i}.jpg" for i in range(2))]),
        "unpacked/k-*",
    ),
    "zip of zips": (make_zip_of_zips, "unpacked/train-*/train"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_labels_and_raw_data_stay_as_they_are(form, tmp_path, paths):
    make, expected = FORMS[form]
    top = tmp_path / "data" / "top"
    top.mkdir(parents=True)
    make(top)
    before = snapshot(top)
    found = data.find_data(str(top), paths)
    assert [name.removesuffix("s") for name in labels(found)] == ["cat"] * 3 + ["dog"] * 2
    assert found.relative_to(paths.data).match(expected)
    assert len(found.relative_to(paths.data).parts) == len(Path(expected).parts)
    assert snapshot(top) == before
    assert data.find_data(str(top), paths) == found


@pytest.mark.parametrize("form", [form for form, (_, place) in FORMS.items() if place.startswith("top")])
def test_a_zip_of_any_form_gives_the_same_labels(form, tmp_path, paths):
    (tmp_path / "top").mkdir()
    FORMS[form][0](tmp_path / "top")
    path = shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path, "top")
    shutil.rmtree(tmp_path / "top")
    assert len(labels(data.find_data(path, paths))) == 5


def test_a_zip_of_zips_may_be_given_itself(tmp_path, paths):
    (tmp_path / "top").mkdir()
    make_zip_of_zips(tmp_path / "top")
    found = data.find_data(str(tmp_path / "top" / "dogs-vs-cats.zip"), paths)
    assert found.relative_to(paths.data).match("unpacked/train-*/train") and len(labels(found)) == 5


def test_any_two_class_names_will_do(tmp_path, paths):
    fill(tmp_path / "d", ["Äpfel/1.JPG", "Birnen x/1.jfif"])
    assert data.find_data(str(tmp_path / "d"), paths) == tmp_path / "d"


def test_hidden_files_and_links_are_not_followed(tmp_path, paths):
    fill(tmp_path / "d", CLASSES)
    fill(tmp_path / "d", CLASSES, ".cache")
    (tmp_path / "d" / "loop").symlink_to(tmp_path / "d", target_is_directory=True)
    assert data.find_data(str(tmp_path / "d"), paths) == tmp_path / "d"


def test_links_to_class_folders_are_told_where_nothing_else_is_found(tmp_path, paths):
    fill(tmp_path / "elsewhere", CLASSES)
    (tmp_path / "d").mkdir()
    for name in ("Cat", "Dog"):
        (tmp_path / "d" / name).symlink_to(tmp_path / "elsewhere" / name, target_is_directory=True)
    with pytest.raises(ValueError, match=r"found 2 linked folders \(not followed\) in \./; wanted"):
        data.find_data(str(tmp_path / "d"), paths)


def test_a_folder_that_may_not_be_read_is_named_not_passed_over(tmp_path, paths, monkeypatch):
    def refuse_one(folder, scan=os.scandir):
        if Path(folder).name == "Bird":
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    fill(tmp_path / "d", [*CLASSES, "Bird/1.jpg"])
    monkeypatch.setattr(os, "scandir", refuse_one)
    with pytest.raises(PermissionError, match="Permission denied: .*/d/Bird"):
        data.find_data(str(tmp_path / "d"), paths)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "found nothing"),
        (["test1/1.jpg", "test1/2.jpg"], r"2 '\.jpg' files in test1/"),
        (["Cat/1.heic", "Dog/1.heic"], r"1 '\.heic' files in Cat/; .* of \.bmp, \.gif, \.jfif, "),
        (["cat.0.jpg", "cat.1.jpg"], r"2 'cat\.….jpg' files"),
        (["PetImages/Cat/1.jpg"], "PetImages/Cat/"),
        (["a/1.jpg", "b/1.jpg", "c/1.jpg", "c/2.jpg"], r"found 3: .*a 1, b 1, c 2"),
        (["cat.0.jpg", "dog.0.jpg", "bird.0.jpg"], "found 3: .*bird 1, cat 1, dog 1"),
        ([f"{kind}/1.jpg" for kind in "abcdefgh"], r"found 8: .*g 1, h 1\);"),
        (["Cat/1.jpg", "Dog/1.jpg", "Cat/old/1.jpg"], "found 3: .*old 1"),
        (["x/Cat/1.jpg", "x/Dog/1.jpg", "y/Cat/1.jpg", "y/Dog/1.jpg"], "more than one data set.*x .*y "),
        (["cat.0.jpg", "dog.0.jpg", "x/a/1.jpg", "x/b/1.jpg"], "more than one data set"),
        (["train/cat.0.jpg", "train/dog.0.jpg", "val/cat.0.jpg", "val/dog.0.jpg"], "more than one data set"),
    ],
)
def test_a_folder_without_exactly_one_reading_says_what_was_found(names, message, tmp_path, paths):
    (tmp_path / "d").mkdir()
    fill(tmp_path / "d", names)
    with pytest.raises(ValueError, match=message) as caught:
        data.find_data(str(tmp_path / "d"), paths)
    assert str(tmp_path / "d") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not paths.data.exists()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("NORMAL", ["PNEUMONIA/bacteria/0.jpg", "PNEUMONIA/virus/0.jpg"]),
        ("a/NORMAL", ["a/PNEUMONIA/kinds/bacteria/0.jpg", "a/PNEUMONIA/kinds/virus/0.jpg"]),
        ("train/NORMAL", ["train/PNEUMONIA/bacteria/0.jpg", "train/PNEUMONIA/virus/0.jpg"]),
        ("cats", ["dogs/husky.0.jpg", "dogs/poodle.0.jpg"]),
    ],
)
def test_kinds_within_a_class_are_not_taken_for_the_classes(one, other, tmp_path, paths):
    fill(tmp_path / "pets", [f"{one}/0.jpg", f"{one}/1.jpg", *other])
    with pytest.raises(ValueError, match=r"which folders are the classes in .*/pets\?.*beside it lie .* 2;"):
        data.find_data(str(tmp_path / "pets"), paths)


@pytest.mark.parametrize("name", ["test", "test1", "test_set"])
def test_an_unlabelled_test_part_beside_labelled_parts_is_no_class_and_no_data_set(name, tmp_path, paths):
    labelled = [f"{part}/{picture}" for part in ("training_set", "validation_set") for picture in CLASSES]
    fill(tmp_path / "pets", [*labelled, f"{name}/1.jpg", f"{name}/2.jpg", "overview.jpg"])
    assert data.find_data(str(tmp_path / "pets"), paths) == tmp_path / "pets"
    fill(tmp_path / "plain", [*CLASSES, f"{name}/1.jpg"])
    assert data.find_data(str(tmp_path / "plain"), paths) == tmp_path / "plain"


@pytest.mark.parametrize(
    "names", [["test1/0.jpg"], ["overview.jpg"], ["PetImages/overview.jpg"], ["test_set/more/1.jpg"]]
)
def test_pictures_that_are_no_class_do_no_harm(names, tmp_path, paths):
    fill(tmp_path / "pets", [f"PetImages/{name}" for name in CLASSES] + names)
    assert data.find_data(str(tmp_path / "pets"), paths) == tmp_path / "pets" / "PetImages"


def test_a_few_names_like_cat_0_in_a_class_folder_are_no_classes(tmp_path, paths):
    fill(tmp_path / "pets", [*CLASSES, "Cat/felix.1.jpg", "Cat/tom.1.jpg"])
    assert data.find_data(str(tmp_path / "pets"), paths) == tmp_path / "pets"


def test_a_few_pictures_beside_many_do_no_harm(tmp_path, paths):
    many = [f"PetImages/{name}/{i}.jpg" for name in ("Cat", "Dog") for i in range(20)]
    fill(tmp_path / "pets", [*many, "figures/overview.jpg"])
    assert data.find_data(str(tmp_path / "pets"), paths) == tmp_path / "pets" / "PetImages"


@pytest.mark.parametrize(("rare", "refused"), [(9, False), (10, True), (20, True)])
def test_a_class_may_be_rare(rare, refused, tmp_path, paths):
    """Of 400 in two folders of the other class a share of 5 % is 20; ten are enough to be split."""
    healthy = [f"NORMAL/{kind}/{i}.jpg" for kind in ("adult", "child") for i in range(200)]
    fill(tmp_path / "d", [*healthy, *(f"PNEUMONIA/{i}.jpg" for i in range(rare))])
    if refused:
        with pytest.raises(
            ValueError, match=r"beside it lie .*PNEUMONIA.*; give the former as `data`, or set"
        ):
            data.find_data(str(tmp_path / "d"), paths)
    assert data.find_data(str(tmp_path / "d" / "NORMAL"), paths) == tmp_path / "d" / "NORMAL"


@pytest.mark.parametrize("parts", [["train/", "val/", "test/"], [""]], ids=["parts", "class folders"])
@pytest.mark.parametrize("pattern", ["", "cat|dog"])
def test_a_copy_of_the_data_within_the_data_is_read_once(parts, pattern, tmp_path, paths, caplog):
    """As Kaggle has them: a folder of parts, or of classes, and all of it once more below, or twice."""
    caplog.set_level(logging.INFO)
    names = [part + name for part in parts for name in CLASSES]
    for inside in ("", "x", "x/y"):
        fill(tmp_path / "x", names, inside)
    found = data.find_data(str(tmp_path / "x"), paths, pattern)
    assert found == tmp_path / "x" / "x" / "y"
    assert f"{2 * len(names)} pictures lie in {tmp_path / 'x'} twice: one of each counts" in caplog.text
    packed = shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path, "x")
    assert data.find_data(packed, paths, pattern).match("unpacked/all-*/x/x/y")


def test_a_figure_beside_does_not_hide_a_copy_from_a_pattern(tmp_path, paths, caplog):
    caplog.set_level(logging.INFO)
    fill(tmp_path / "d", [f"{patient}/{kind}/0.png" for patient in ("p1", "p2") for kind in ("ill", "well")])
    shutil.copytree(tmp_path / "d", tmp_path / "all" / "packed")
    shutil.copytree(tmp_path / "d", tmp_path / "all", dirs_exist_ok=True)
    fill(tmp_path / "all", ["docs/figure.png"])
    assert data.find_data(str(tmp_path / "all"), paths, "ill|well") == tmp_path / "all" / "packed"
    assert "4 pictures lie in" in caplog.text
    fill(tmp_path / "all", ["more/ill/7.png"])
    caplog.clear()
    assert data.find_data(str(tmp_path / "all"), paths, "ill|well") == tmp_path / "all"
    assert "twice" not in caplog.text


@pytest.mark.parametrize("inside", ["masks", "test", "train/augmented"])
def test_what_has_the_names_of_others_but_not_their_size_is_no_copy(inside, tmp_path, paths):
    fill(tmp_path / "x", [f"train/{name}" for name in CLASSES])
    for name in CLASSES:
        path = tmp_path / "x" / inside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"another picture")
    if inside == "test":
        assert data.find_data(str(tmp_path / "x"), paths) == tmp_path / "x"
    else:
        with pytest.raises(ValueError, match="more than one data set|which folders are the classes|found 4"):
            data.find_data(str(tmp_path / "x"), paths)
    assert data.find_data(str(tmp_path / "x"), paths, "cat|dog") == tmp_path / "x"


@pytest.mark.parametrize("suffix", ["bmp", "tif"])
def test_pictures_that_are_not_compressed_are_no_copies_for_their_size(suffix, tmp_path, paths):
    for inside in ("", "augmented"):
        for name in ("Cat/0", "Cat/1", "Dog/0", "Dog/1"):
            path = tmp_path / "x" / inside / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((inside or "originals").encode())
    assert len("augmented") == len("originals")
    with pytest.raises(ValueError, match="more than one data set"):
        data.find_data(str(tmp_path / "x"), paths)


def test_a_copy_within_a_part_is_not_said_to_be_left_aside(tmp_path, paths, caplog):
    caplog.set_level(logging.INFO)
    for inside in ("train", "train/train"):
        fill(tmp_path / "x", CLASSES, inside)
    fill(tmp_path / "x", [f"test/{name}" for name in CLASSES])
    for pattern in ("", "cat|dog"):
        assert data.find_data(str(tmp_path / "x"), paths, pattern) == tmp_path / "x"
    assert "twice" not in caplog.text


def test_a_pattern_that_names_what_lies_above_a_copy_is_not_refused(tmp_path, paths):
    for inside in ("set", "set/set"):
        fill(tmp_path / "x", CLASSES, inside)
    assert data.find_data(str(tmp_path / "x"), paths, "/(cat|dog)/") == tmp_path / "x"
    assert data.find_data(str(tmp_path / "x"), paths, "cat|/dog") == tmp_path / "x", "one of the two does"
    assert data.find_data(str(tmp_path / "x"), paths, "(cat|dog)/") == tmp_path / "x" / "set" / "set"


def test_a_kept_copy_of_a_class_does_not_become_a_class(tmp_path, paths):
    fill(tmp_path / "x", CLASSES)
    fill(tmp_path / "x", ["0.jpg", "1.jpg", "2.jpg"], "Cat")
    fill(tmp_path / "x", ["0.jpg", "1.jpg", "2.jpg"], "Cat/old")
    with pytest.raises(ValueError, match="found 3: .*cat 3, dog 2, old 3"):
        data.find_data(str(tmp_path / "x"), paths)


# Each form holds three ill and two well; a class_pattern, and whether it is understood without one.
PATTERNS = {
    "patients in classes": (
        ["ill/p1/0.jpg", "ill/p1/1.jpg", "ill/p2/0.jpg", "Well/p3/0.jpg", "Well/p4/0.jpg"],
        "ill|Well",
    ),
    "classes in patients": (
        ["p1/ill/0.jpg", "p1/ill/1.jpg", "p1/well/0.jpg", "p2/ill/0.jpg", "p2/well/0.jpg"],
        "(ill|well)/",
    ),
    "labelled parts": (
        ["train/ill.0.jpg", "train/well.0.jpg", "train/ill.1.jpg", "test/ill.2.jpg", "test/well.2.jpg"],
        r"[a-z]+(?=\.\d)",
    ),
    "one of five kinds": (
        ["ill/0.jpg", "ill/1.jpg", "ill/2.jpg", "well/0.jpg", "well/1.jpg", "a/0.jpg", "b/0.jpg"],
        "ill|well",
    ),
    "names of one folder": (
        ["ill (1).jpg", "ill (2).jpg", "ill (3).jpg", "WELL_1.jpg", "WELL_2.jpg", "x.jpg"],
        "^(ill|WELL)",
    ),
    "kinds within a class": (
        ["well/0.jpg", "well/1.jpg", "ill/a/0.jpg", "ill/a/1.jpg", "ill/b/1.jpg"],
        "^(ill|well)",
    ),
}


@pytest.mark.parametrize("form", PATTERNS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_pattern_finds_the_classes_wherever_they_are_named(form, packed, tmp_path, paths):
    names, pattern = PATTERNS[form]
    source = pack(tmp_path / "d.zip", names) if packed else fill(tmp_path / "d", names)
    with pytest.raises(ValueError, match=r"set class_pattern to what finds the class in a path"):
        data.find_data(str(source), paths)
    found = data.find_data(str(source), paths, pattern)
    read = [read_label(path.relative_to(found).as_posix(), pattern) for path in found.rglob("*.jpg")]
    assert sorted(filter(None, read)) == ["ill"] * 3 + ["well"] * 2


def test_a_pattern_goes_into_zips_where_nothing_lies_open(tmp_path, paths):
    pack(tmp_path / "d" / "train.zip", CLASSES, "train/")
    pack(tmp_path / "d" / "test1.zip", TEST, "test1/")
    assert data.find_data(str(tmp_path / "d"), paths, "Cat|Dog").match("unpacked/train-*")
    fill(tmp_path / "d", CLASSES, "train")
    assert data.find_data(str(tmp_path / "d"), paths, "Cat|Dog") == tmp_path / "d"
    pack(tmp_path / "d" / "more.zip", CLASSES)
    with pytest.raises(ValueError, match=r"more than one data set .*/d/more\.zip; give the path of one"):
        data.find_data(str(tmp_path / "d"), paths, "Cat|Dog")


def test_upper_case_and_parted_accents_are_found_as_they_are_typed(tmp_path, paths):
    names = ["train/Größe/0.jpg", "test/größe/1.jpg", "train/CAFÉ/0.jpg"]
    fill(tmp_path / "d", [unicodedata.normalize("NFD", name) for name in names])
    found = data.find_data(str(tmp_path / "d"), paths, unicodedata.normalize("NFC", "größe|café"))
    assert [read_label(name, "größe|café") for name in names] == ["größe", "größe", "café"]
    assert found == tmp_path / "d"


@pytest.mark.parametrize("names", [["train/Größe/0.jpg", "train/zu/0.jpg"], ["größe.0.jpg", "zu.0.jpg"]])
def test_a_class_is_one_however_its_accents_are_stored(names, tmp_path, paths):
    """macOS parts a letter and its accent; a picture added on another system has them in one."""
    fill(tmp_path / "d", [unicodedata.normalize("NFD", name) for name in names])
    if "/" in names[0]:
        fill(tmp_path / "d", ["test/größe/1.jpg", "test/zu/1.jpg"])
    found = data.find_data(str(tmp_path / "d"), paths)
    read = [read_label(path.relative_to(found).as_posix()) for path in found.rglob("*.jpg")]
    assert found == tmp_path / "d" and set(read) == {"größe", "zu"}


def test_a_refusal_that_has_to_name_hundreds_of_classes_keeps_its_remedy(tmp_path, paths):
    fill(
        tmp_path / "d", [f"patient{number}_{kind}/0.jpg" for number in range(300) for kind in ("ill", "well")]
    )
    with pytest.raises(ValueError, match=r"found 600: .*, and 592 more\); .* or set class_pattern"):
        data.find_data(str(tmp_path / "d"), paths)


def test_data_sets_in_a_zip_cannot_be_given_by_their_path(tmp_path, paths):
    pack(
        tmp_path / "d.zip",
        [f"{top}/{name}" for top in ("one", "other") for name in CLASSES[:2] + CLASSES[3:]],
    )
    with pytest.raises(ValueError, match="; unpack the zip and give the path of one as `data`, or put"):
        data.find_data(str(tmp_path / "d.zip"), paths)


def test_the_drawn_sample_is_asked_for_its_pattern_before_it_is_read(paths, monkeypatch):
    monkeypatch.setattr(data, "draw_sample", lambda folder: draw_sample(folder, number=20))
    assert data.find_data("sample", paths, "cat|dog") == paths.data / "sample"
    with pytest.raises(ValueError, match="nothing found in the path of any picture in .*sample"):
        data.find_data("sample", paths, "benign|malignant")
    monkeypatch.setattr(data, "draw_sample", lambda folder: pytest.fail("drawn"))
    monkeypatch.setattr(data.downloads, "download", lambda name, folder: pytest.fail("downloaded"))
    for place in ("auto", "sample", "filtered"):
        with pytest.raises(ValueError, match=r"class_pattern '\(' is no regular expression"):
            data.find_data(place, paths, "(")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "Bird",
            r"nothing found in the path of any picture in .*, but 3 '\.jpg' files .*; correct class_pattern",
        ),
        (
            "Cat",
            "two classes are wanted, found 1: .*cat 3.* or correct class_pattern 'Cat': what it finds first",
        ),
        ("[0-9]", "two classes are wanted, found 3: .*0 2, 1 2, 2 1"),
        ("(", r"class_pattern '\(' is no regular expression"),
    ],
)
def test_a_pattern_that_finds_no_two_classes_is_refused(pattern, message, tmp_path, paths):
    fill(tmp_path / "d", CLASSES)
    with pytest.raises(ValueError, match=message) as caught:
        data.find_data(str(tmp_path / "d"), paths, pattern)
    assert "\n" not in str(caught.value)


def test_attached_input_may_need_a_pattern(paths):
    fill(
        paths.input / "tissue",
        [f"{patient}/{kind}/{i}.png" for patient in "ab" for kind in "01" for i in range(9)],
    )
    with pytest.raises(ValueError, match="not understood as one data set .* or set class_pattern"):
        data.find_data("auto", paths)
    assert data.find_data("auto", paths, "/([01])/") == paths.input / "tissue"


def test_many_folders_are_told_apart_in_seconds(tmp_path, paths, monkeypatch):
    """A folder a patient, two classes in each: each pair of folders was compared, for minutes."""
    compared, original = [], os.path.commonpath
    monkeypatch.setattr(os.path, "commonpath", lambda paths: compared.append(1) or original(paths))
    names = [f"{patient}/{kind}/{i}.png" for patient in range(300) for kind in "01" for i in range(50)]
    assert len(find_readings(dict.fromkeys(names))) == 300
    assert len(compared) <= 300 * 2 * 10
    fill(tmp_path / "d", [name for name in names if name.endswith("/0.png")])
    with pytest.raises(ValueError, match=r"; and 292 more; give the path of one"):
        data.find_data(str(tmp_path / "d"), paths)


def test_auto_does_not_draw_pictures_where_some_were_attached(paths, monkeypatch):
    monkeypatch.setattr(data, "draw_sample", lambda folder: fill(folder, KAGGLE))
    fill(paths.input / "figures-of-others", ["a.png", "b.png"])
    fill(paths.input, ["notes.txt"])
    assert data.find_data("auto", paths) == paths.data / "sample"
    pack(paths.input / "packed" / "one-class.zip", TEST)
    fill(paths.input / "packed", ["README.txt"])
    with pytest.raises(ValueError, match="/packed: not understood as one data set"):
        data.find_data("auto", paths)
    shutil.rmtree(paths.input / "packed")
    fill(paths.input / "three", [f"{kind}/{i}.jpg" for kind in "abc" for i in range(9)])
    with pytest.raises(
        ValueError, match=r"/three: not understood as one data set.*give the path .* or 'sample'"
    ):
        data.find_data("auto", paths)
    fill(paths.data / "raw", CLASSES)
    assert data.find_data("auto", paths) == paths.data / "raw"


def test_two_zips_with_labels_are_told_apart_by_the_user(tmp_path, paths):
    pack(tmp_path / "d" / "a.zip", KAGGLE)
    pack(tmp_path / "d" / "b.zip", CLASSES)
    with pytest.raises(ValueError, match=r"more than one data set.*a\.zip.*b\.zip"):
        data.find_data(str(tmp_path / "d"), paths)


def test_a_cut_off_zip_is_named_not_passed_over(tmp_path, paths):
    path = pack(tmp_path / "d" / "train.zip", KAGGLE)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"train\.zip is not a whole zip"):
        data.find_data(str(tmp_path / "d"), paths)


def test_zips_in_zips_without_end_are_refused(tmp_path, paths):
    path = pack(tmp_path / "0.zip", KAGGLE)
    for depth in range(1, data.DEEPEST_NESTING + 2):
        outer = tmp_path / f"{depth}.zip"
        with zipfile.ZipFile(outer, "w") as archive:
            archive.write(path, path.name)
        path = outer
    with pytest.raises(ValueError, match="zips in zips"):
        data.find_data(str(path), paths)


def test_a_wrong_path_lists_the_known_names(tmp_path, paths):
    for wrong in (str(tmp_path / "none"), "", "petimage"):
        with pytest.raises(FileNotFoundError, match="auto, sample, filtered, petimages, kaggle"):
            data.find_data(wrong, paths)
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(ValueError, match="neither a folder nor a"):
        data.find_data(str(tmp_path / "x.txt"), paths)


def test_auto_prefers_kaggle_then_raw_then_the_sample_and_says_so(tmp_path, paths, monkeypatch, caplog):
    monkeypatch.setattr(data, "draw_sample", lambda folder: fill(folder, KAGGLE))
    caplog.set_level(logging.INFO, "src.data")

    def found(reason):
        caplog.clear()
        folder = data.find_data("auto", paths)
        assert [reason in line for line in caplog.messages] == [True], caplog.messages
        return folder

    assert found("drawn sample") == paths.data / "sample"
    fill(paths.data / "raw", ["README.md", ".gitkeep", ".x.zip.part"])
    assert found("drawn sample") == paths.data / "sample"
    fill(paths.data / "raw", CLASSES, "PetImages")
    assert found("filled") == paths.data / "raw" / "PetImages"
    fill(paths.input / "weights-of-others", ["model.h5"])
    assert found("filled") == paths.data / "raw" / "PetImages"
    fill(paths.input / "datasets" / "owner" / "cats-and-dogs", CLASSES, "PetImages")
    assert found("only data set") == paths.input / "datasets" / "owner" / "cats-and-dogs" / "PetImages"
    make_kaggle_zips(paths.input / "competitions" / "dogs-vs-cats")
    assert found("competition").relative_to(paths.data).match("unpacked/train-*/train")
    fill(paths.input / "dogs-vs-cats", KAGGLE, "train")
    assert found("competition") == paths.input / "dogs-vs-cats" / "train"


def test_a_zip_among_the_input_is_a_data_set(paths):
    pack(paths.input / "mine" / "pets.zip", CLASSES)
    assert data.find_data("auto", paths).match("unpacked/pets-*")


def test_two_data_sets_among_the_input_are_told_apart_by_the_user(paths):
    fill(paths.input / "one", CLASSES)
    fill(paths.input / "two", KAGGLE)
    with pytest.raises(ValueError, match=r"more than one data set among the input: .*one, .*two"):
        data.find_data("auto", paths)


def test_data_with_the_same_content_are_unpacked_once(tmp_path, paths):
    first = data.find_data(str(pack(tmp_path / "a" / "train.zip", KAGGLE)), paths)
    assert data.find_data(str(pack(tmp_path / "b" / "train.zip", KAGGLE)), paths) == first
    assert data.find_data(str(pack(tmp_path / "c" / "train.zip", [*KAGGLE, "dog.9.jpg"])), paths) != first


def test_reading_names_opens_nothing():
    names = ["PetImages/Cat/0.jpg", "PetImages/Dog/0.jpg", "PetImages/Dog/1.jpg", "a.txt"]
    (reading,) = find_readings(dict.fromkeys(names))
    assert reading == ("PetImages", {"cat": 1, "dog": 2}, {}, 0)


@pytest.mark.photographs
@pytest.mark.parametrize(
    ("name", "folder", "expected"),
    [("train.zip", "train", 1002), ("petimages_180.zip", "PetImages", 12_500)],
)
def test_real_photographs_are_found_and_whole(name, folder, expected, paths):
    if not (PHOTOGRAPHS / name).is_file():
        pytest.skip(f"{PHOTOGRAPHS / name} is absent")
    found = data.find_data(str(PHOTOGRAPHS / name), paths)
    assert found.name == folder
    assert len(labels(found)) == expected
