"""Where the unlabelled pictures are: Kaggle's test1 in or beside the data set, a folder, a zip, or drawn."""

import zipfile
from pathlib import Path

import pytest

from src.config import Paths
from src.datasets.unlabelled import find_unlabelled

LABELLED = ["train/cat.0.jpg", "train/cat.1.jpg", "train/dog.0.jpg", "train/dog.1.jpg"]
UNLABELLED = ["test1/1.jpg", "test1/2.jpg"]


@pytest.fixture
def paths(tmp_path) -> Paths:
    return Paths(tmp_path / "input", tmp_path / "data", tmp_path / "output")


def fill(place: Path, names: list[str]) -> Path:
    """A folder or a zip with files of these names; nothing here looks into them."""
    if place.suffix == ".zip":
        place.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(place, "w") as archive:
            for name in names:
                archive.writestr(name, name)
    else:
        for name in names:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(name)
    return place


def found(folder: Path) -> list[str]:
    return sorted(path.read_text() for path in folder.rglob("*.jpg"))


@pytest.mark.parametrize("packed", [True, False])
def test_kaggles_input_holds_it_beside_train(tmp_path, paths, packed):
    source = paths.input / "dogs-vs-cats"
    if packed:
        fill(source / "train.zip", LABELLED)
        fill(source / "test1.zip", UNLABELLED)
    else:
        fill(source, [*LABELLED, *UNLABELLED])
    fill(source, ["test.csv"])
    before = sorted(source.rglob("*"))
    assert found(find_unlabelled("auto", "auto", paths)) == UNLABELLED
    assert sorted(source.rglob("*")) == before


def test_it_lies_beside_a_data_set_that_is_a_zip_or_a_folder(tmp_path, paths):
    train = fill(tmp_path / "given" / "train.zip", LABELLED)
    fill(tmp_path / "given" / "test1.zip", UNLABELLED)
    assert found(find_unlabelled("auto", str(train), paths)) == UNLABELLED
    fill(tmp_path / "other", [*LABELLED, *UNLABELLED])
    assert find_unlabelled("auto", str(tmp_path / "other" / "train"), paths) == tmp_path / "other" / "test1"


def test_what_lies_in_another_folder_beside_is_not_taken_for_it(tmp_path, paths):
    train = fill(tmp_path / "given" / "train.zip", LABELLED)
    fill(tmp_path / "given" / "birds" / "test1.zip", UNLABELLED)
    with pytest.raises(ValueError, match="no unlabelled pictures: neither in .* nor beside it"):
        find_unlabelled("auto", str(train), paths)


@pytest.mark.parametrize("zips_within", [True, False])
@pytest.mark.parametrize("data", ["given/all.zip", "given"])
def test_it_lies_in_the_same_zip(tmp_path, paths, data, zips_within):
    """The data set is the zip or the folder that it was downloaded to; Kaggle's holds a zip of each part."""
    inside, parts = [*LABELLED, *UNLABELLED], tmp_path / "parts"
    if zips_within:
        inside = [fill(parts / "train.zip", LABELLED), fill(parts / "test1.zip", UNLABELLED)]
    (tmp_path / "given").mkdir()
    with zipfile.ZipFile(tmp_path / "given" / "all.zip", "w") as archive:
        for each in inside:
            archive.write(each, each.name) if zips_within else archive.writestr(each, each)
    folder = find_unlabelled("auto", str(tmp_path / data), paths)
    assert found(folder) == UNLABELLED and (paths.data / "unpacked") in folder.parents


def test_a_zip_and_what_came_out_of_it_count_once(tmp_path, paths):
    fill(tmp_path / "given", [*LABELLED, *UNLABELLED])
    fill(tmp_path / "given" / "test1.zip", UNLABELLED)
    assert find_unlabelled("auto", str(tmp_path / "given"), paths) == tmp_path / "given" / "test1"


@pytest.mark.parametrize(
    "names",
    [["test/list.csv", "test/cats/1.jpg", "test/dogs/1.jpg"], ["test/cat.7.jpg", "test/dog.7.jpg"], []],
)
def test_a_test_part_with_labels_is_not_taken_for_it(tmp_path, paths, names):
    fill(tmp_path / "given", [*LABELLED, *names])
    with pytest.raises(ValueError, match="no unlabelled pictures: neither in .*given nor beside it"):
        find_unlabelled("auto", str(tmp_path / "given"), paths)


def test_a_test_part_that_a_pattern_labels_is_not_taken_for_it(tmp_path, paths):
    names = [
        f"{part}/{kind}_{number}.jpg"
        for part in ("train", "test")
        for kind in ("ill", "well")
        for number in (1, 2)
    ]
    fill(tmp_path / "given", names)
    with pytest.raises(ValueError, match="no unlabelled pictures: neither in .*given nor beside it"):
        find_unlabelled("auto", str(tmp_path / "given"), paths, "ill|well")
    fill(tmp_path / "given", UNLABELLED)
    assert find_unlabelled("auto", str(tmp_path / "given"), paths, "ill|well") == tmp_path / "given" / "test1"


def test_two_places_are_told_and_none_is_chosen(tmp_path, paths):
    fill(tmp_path / "given", [*LABELLED, *UNLABELLED, "test2/1.jpg"])
    with pytest.raises(ValueError, match=r"more than one place: .*test1, .*test2; give one as `pictures`"):
        find_unlabelled("auto", str(tmp_path / "given"), paths)


@pytest.mark.parametrize("place", ["mine", "mine.zip"])
def test_any_folder_or_zip_can_be_given(tmp_path, paths, place):
    given = fill(tmp_path / place, ["a/Kitty.jpg", "1.jpg"])
    assert found(find_unlabelled(str(given), "sample", paths)) == ["1.jpg", "a/Kitty.jpg"]


def test_what_is_not_there_or_neither_folder_nor_zip_is_named(tmp_path, paths):
    with pytest.raises(FileNotFoundError, match="no folder or zip at '/nowhere'.*or one of auto"):
        find_unlabelled("/nowhere", "sample", paths)
    (tmp_path / "list.txt").touch()
    with pytest.raises(ValueError, match=r"list\.txt is neither a folder nor a \.zip"):
        find_unlabelled(str(tmp_path / "list.txt"), "sample", paths)


def test_the_drawn_sample_has_some_of_its_own(paths):
    folder = find_unlabelled("auto", "sample", paths)
    assert {path.name for path in folder.iterdir()} == {f"{k}.jpg" for k in range(1, 62)}
    assert not (paths.data / "sample").exists(), "the labelled sample is left as it is"
