"""The table has a row for every file, the published columns are the published ones, the split is theirs."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from src.datasets import splitting
from src.datasets.layouts import is_in_test_folder
from src.datasets.listing import describe_file
from src.features import (
    COLUMNS,
    data_fingerprint,
    extract_features,
    load_features,
    save_features,
    split_features,
)
from src.images.files import content_hash
from src.images.hashing import perceptual_hash
from src.images.pictures import decode_picture

PROJECT = Path(__file__).resolve().parents[1]
PHOTOGRAPHS = PROJECT.parent / "shared" / "data" / "train.zip"
README = PROJECT / "README.md"


def write_picture(path: Path, seed: int = 0, height: int = 24, width: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    path.write_bytes(cv2.imencode(path.suffix or ".jpg", picture)[1].tobytes())


def write_flat(folder: Path, number: int = 10) -> None:
    """Writes pictures named as Kaggle names them, each of another size."""
    for index in range(number):
        write_picture(folder / f"cat.{index}.jpg", index, 20 + index, 40)
        write_picture(folder / f"dog.{index}.jpg", 100 + index, 50, 30 + index)


def reasons(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["image_name"], table["reason"], strict=True))


def plain_table(cats: int, dogs: int) -> pd.DataFrame:
    names = [f"cat.{index}.jpg" for index in range(cats)] + [f"dog.{index}.jpg" for index in range(dogs)]
    table = pd.DataFrame({"image_name": names, "category": [name[:3] for name in names]})
    return table.assign(status="used", reason="").sort_values("image_name", ignore_index=True)


def compare_with_plain_loop(folder: Path, table: pd.DataFrame) -> None:
    rows = []
    for name in sorted(os.listdir(folder)):
        height, width = cv2.imread(str(folder / name)).shape[:2]
        category = name.split(".")[0]
        rows.append([name, category, int(category == "dog"), (height, width), height / width])
    assert table[COLUMNS[:5]].to_numpy().tolist() == rows


def test_published_columns_equal_a_plain_loop_over_the_files(tmp_path):
    write_flat(tmp_path)
    table = extract_features(tmp_path)
    assert list(table) == COLUMNS
    assert COLUMNS[:5] == ["image_name", "category", "code", "size", "aspect_ratio"]
    compare_with_plain_loop(tmp_path, table)
    contents = [(tmp_path / name).read_bytes() for name in table["image_name"]]
    assert list(table["bytes"]) == list(map(len, contents))
    assert list(table["content_hash"]) == list(map(content_hash, contents))


@pytest.mark.photographs
@pytest.mark.skipif(not PHOTOGRAPHS.exists(), reason="the photographs are not here")
def test_published_columns_equal_a_plain_loop_over_real_photographs(tmp_path):
    import zipfile

    with zipfile.ZipFile(PHOTOGRAPHS) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        for name in names[:100] + names[-100:]:
            (tmp_path / Path(name).name).write_bytes(archive.read(name))
    compare_with_plain_loop(tmp_path, extract_features(tmp_path))


def test_class_folders_give_the_label_and_unique_names(tmp_path, caplog):
    for index in range(10):
        write_picture(tmp_path / "train" / "Wolf" / f"{index}.jpg", index)
        write_picture(tmp_path / "validation" / "Dog" / f"{index}.jpg", 50 + index)
    write_picture(tmp_path / "test" / "1.jpg", 99)
    table = extract_features(tmp_path).set_index("image_name")
    assert table.loc["train/Wolf/3.jpg", ["category", "code", "status"]].tolist() == ["wolf", 0, "used"]
    assert table.loc["validation/Dog/3.jpg", ["category", "code"]].tolist() == ["dog", 1]
    for name, code in table["perceptual_hash"].items():
        assert code == perceptual_hash(decode_picture((tmp_path / name).read_bytes())) != ""
    assert table.loc["test/1.jpg", "reason"] == "no label: test names a part"
    assert table.loc["test/1.jpg", "size"] == (24, 32)
    assert pd.isna(table.loc["test/1.jpg", "code"])
    assert caplog.text == "", "no word of a class_pattern"


@pytest.mark.parametrize(("other", "positive"), [("apple", "zebra"), ("wolves", "dogs")])
def test_without_dogs_the_second_class_of_the_alphabet_has_code_1(other, positive, tmp_path):
    for index in range(10):
        write_picture(tmp_path / other / f"{index}.jpg", index)
        write_picture(tmp_path / positive / f"{index}.jpg", 50 + index)
    table = extract_features(tmp_path)
    assert dict(zip(table["category"], table["code"], strict=True)) == {other: 0, positive: 1}


def test_a_pattern_finds_the_label_and_what_has_none_is_left_out(tmp_path, caplog):
    for index in range(20):
        write_picture(tmp_path / f"p{index}" / f"{'Well' if index % 2 else 'ill'}_{index}.jpg", index)
    write_picture(tmp_path / "p0" / "plan.jpg", 90)
    write_picture(tmp_path / ".thumbs" / "ill_1.jpg", 91)
    table = extract_features(tmp_path, class_pattern="ill|Well").set_index("image_name")
    used = table[table["status"] == "used"]
    assert used.groupby("category")["code"].agg(["size", "min", "max"]).to_numpy().tolist() == [
        [10, 0, 0],
        [10, 1, 1],
    ]
    assert list(used["category"].unique()) == ["ill", "well"]
    assert table.loc["p0/plan.jpg", ["category", "reason"]].tolist() == ["", "the name carries no label"]
    assert table.loc[".thumbs/ill_1.jpg", "category"] == ""
    assert "class_pattern finds nothing in 1 paths, such as 'p0/plan.jpg'" in caplog.text


@pytest.mark.parametrize("place", [".thumbs/cat/1.jpg", "cat/.ipynb_checkpoints/1.jpg", "cat/._1.jpg"])
def test_a_programs_own_pictures_are_no_class_and_take_nobodys_place(place, tmp_path):
    (tmp_path / place).parent.mkdir(parents=True)
    write_picture(tmp_path / place, 1)
    row = describe_file(place, tmp_path / place)
    assert (row["category"], row["status"], row["perceptual_hash"]) == ("", "left out", "")
    assert row["reason"].startswith("hidden: ")


def test_no_file_vanishes_and_each_one_left_out_has_its_reason(tmp_path, monkeypatch):
    folder = tmp_path / "pictures"
    write_flat(folder)
    whole = (folder / "cat.1.jpg").read_bytes()
    (folder / "cat.90.jpg").write_bytes(b"")
    (folder / "cat.91.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(200))
    (folder / ".hidden").write_bytes(b"text")
    write_picture(folder / "dog.92.jpg", height=1)
    write_picture(folder / 'Mein Kätzchen, "süß".jpg', 7)
    write_picture(folder / "dog.93.jpg", 93)
    (folder / "dog.94.jpg").symlink_to(tmp_path / "away.jpg")
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "dog.95.jpg")
    write_picture(Path(os.fsdecode(os.fsencode(folder) + b"/cat.\xff.jpg")), 8)
    read_bytes = Path.read_bytes

    def refuse_one(path: Path) -> bytes:
        if path.name == "dog.93.jpg":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse_one)
    table = extract_features(folder, workers=2)
    found = reasons(table)
    assert len(table) == 20 + 11
    assert (table["status"] == "used").sum() == 20
    assert found["cat.90.jpg"] == "zero bytes"
    assert found["cat.91.jpg"].startswith("truncated or damaged")
    assert found["Thumbs.db"].startswith("not a picture")
    assert found[".hidden"].startswith("hidden: ")
    assert found["dog.92.jpg"].startswith("too small")
    assert found['Mein Kätzchen, "süß".jpg'] == "the name carries no label"
    assert found["dog.93.jpg"] == "unreadable: Permission denied"
    assert found["dog.94.jpg"] == "unreadable: No such file or directory"
    assert found["linked"] == "a linked folder: not followed"
    assert found["dog.95.jpg"] == "not a regular file"
    assert found["cat.\\xff.jpg"].startswith("the name is not UTF-8")
    assert (table["reason"] == "").equals(table["status"] == "used")
    save_features(table, tmp_path / "features.csv")
    pd.testing.assert_frame_equal(load_features(tmp_path / "features.csv"), table)


def test_a_link_to_a_picture_is_as_good_as_the_picture(tmp_path):
    """As in the caches of download tools, and in folders that are sorted by links."""
    write_flat(tmp_path / "pictures")
    (tmp_path / "links").mkdir()
    for file in (tmp_path / "pictures").iterdir():
        (tmp_path / "links" / file.name).symlink_to(file)
    pd.testing.assert_frame_equal(
        extract_features(tmp_path / "links"), extract_features(tmp_path / "pictures")
    )


def test_labels_in_a_csv_file_become_class_folders_as_the_readme_says(tmp_path):
    recipe = README.read_text().split("```python\n")[1].split("```")[0]
    labels = {f"{number:04}": str(number % 2) for number in range(20)}
    for seed, name in enumerate(labels):
        write_picture(tmp_path / "train" / f"{name}.jpg", seed)
    pd.Series(labels).rename_axis("id").to_csv(tmp_path / "labels.csv", header=["label"])
    subprocess.run([sys.executable, "-c", recipe], cwd=tmp_path, check=True)
    table = extract_features(tmp_path / "by_class")
    assert dict(zip(table["image_name"].str[2:-4], table["category"], strict=True)) == labels
    assert (table["status"] == "used").all()


def test_three_classes_are_refused_with_their_counts(tmp_path):
    for category, number in (("Cat", 12), ("Dog", 11), ("Cow", 10)):
        for index in range(number):
            write_picture(tmp_path / category / f"{index}.jpg", index)
    with pytest.raises(ValueError, match=r"3 classes .*cat: 12, cow: 10, dog: 11"):
        extract_features(tmp_path)


def test_an_empty_folder_a_missing_one_and_too_few_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match="0 classes"):
        extract_features(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        extract_features(tmp_path / "nowhere")
    write_flat(tmp_path, 9)
    with pytest.raises(ValueError, match=r"cat: 9, dog: 9"):
        extract_features(tmp_path)


def test_a_saved_table_is_loaded_with_the_same_values_and_types(tmp_path):
    write_flat(tmp_path / "pictures")
    table = split_features(extract_features(tmp_path / "pictures")).assign(duplicate_of="")
    # Words that pandas takes for missing values, and characters that end a line or a field.
    table.loc[0, ["image_name", "category"]] = ['a "b",\rc\nd .jpg', "nan"]
    save_features(table, tmp_path / "run" / "features.csv")
    pd.testing.assert_frame_equal(load_features(tmp_path / "run" / "features.csv"), table)
    assert os.listdir(tmp_path / "run") == ["features.csv"]


def test_a_failed_save_leaves_the_old_table(tmp_path, monkeypatch):
    path = tmp_path / "features.csv"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_features(plain_table(10, 10), path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["features.csv"]


def test_a_missing_or_damaged_table_is_named_with_its_column(tmp_path):
    path = tmp_path / "features.csv"
    with pytest.raises(FileNotFoundError, match=r"features\.csv"):
        load_features(path)
    path.write_text("")
    with pytest.raises(ValueError, match=r"features\.csv"):
        load_features(path)
    write_flat(tmp_path / "pictures")
    table = extract_features(tmp_path / "pictures")
    save_features(table.drop(columns="aspect_ratio"), path)
    with pytest.raises(ValueError, match=r"features\.csv.*aspect_ratio"):
        load_features(path)
    save_features(table.assign(height="tall"), path)
    with pytest.raises(ValueError, match=r"features\.csv.*height"):
        load_features(path)


def test_split_of_24997_rows_is_the_published_one():
    table = split_features(plain_table(12_498, 12_499))
    counts = table["split"].value_counts()
    assert counts.to_dict() == {"train": 14_998, "validation": 4_999, "test": 5_000}
    share = (table["category"] == "dog").groupby(table["split"]).mean()
    assert ((share - 0.5).abs() < 1e-3).all()
    names = table.sort_values("image_name")[["image_name", "category"]]
    halves = {"test_size": 0.4, "stratify": names["category"], "random_state": 42}
    held_back = train_test_split(names, **halves)[1]
    halves.update(test_size=0.5, stratify=held_back["category"])
    for part, drawn in zip(("validation", "test"), train_test_split(held_back, **halves), strict=True):
        assert set(table.query("split == @part")["image_name"]) == set(drawn["image_name"]), part


def test_split_ignores_the_order_of_rows_and_leaves_left_out_rows_empty():
    table = plain_table(30, 40)
    table.loc[[3, 50], "status"] = "left out"
    one = split_features(table, seed=0)
    other = split_features(table.sample(frac=1, random_state=5), seed=0)
    pd.testing.assert_frame_equal(other.sort_index(), one)
    assert list(one.index[one["split"] == ""]) == [3, 50]
    assert not split_features(table, seed=1)["split"].equals(one["split"])


def test_the_fingerprint_is_that_of_the_used_pictures_their_contents_classes_and_parts():
    table = plain_table(20, 20)
    table["code"], table["content_hash"] = (table["category"] == "dog").astype("Int64"), table["image_name"]
    table.loc[3, "status"] = "left out"
    table = split_features(table)
    row = table.index[table["split"] == "train"][0]

    def changed(row: int, column: str, value: object) -> str:
        other = table.copy()
        other.loc[row, column] = value
        return data_fingerprint(other)

    same = [table.sample(frac=1, random_state=1), table.assign(reason="another")]
    assert {data_fingerprint(table), changed(3, "content_hash", "x"), *map(data_fingerprint, same)} == {
        data_fingerprint(table)
    }
    values = {"image_name": "x", "content_hash": "x", "code": 1 - table.loc[row, "code"], "split": "test"}
    found = {changed(row, column, value) for column, value in values.items()} | {data_fingerprint(table)}
    assert len(found) == 5


def test_split_refuses_one_class_and_names_that_come_twice():
    with pytest.raises(ValueError, match=r"1 classes .*, names \(cat\.0\.jpg\) or class_pattern$"):
        split_features(plain_table(30, 0))
    table = plain_table(30, 30)
    copies = table["image_name"].str.startswith("dog")
    table.loc[copies, ["status", "reason"]] = ["left out", "both labels: one that looks alike is cat in x"]
    words = r"1 classes .*; left out: 30 both labels \(leave_out_duplicates = False keeps such copies"
    with pytest.raises(ValueError, match=words):
        split_features(table)
    table.loc[copies, "reason"] = "unreadable: No such file or directory"
    table.loc[0, ["status", "reason"]] = ["left out", "a name that comes first"]
    words = r"; left out: 30 unreadable, 1 a name .*, such as dog\.0\.jpg \(unreadable: No such file .*\)$"
    with pytest.raises(ValueError, match=words):
        split_features(table)
    table = plain_table(30, 30)
    with pytest.raises(ValueError, match=r"cat\.0\.jpg.*twice"):
        split_features(pd.concat([table, table[:1]], ignore_index=True))


def patients(numbers: range, part: str = "", pictures: int = 4) -> pd.DataFrame:
    """Returns a table of so many pictures of each patient: every third one ill."""
    names = [
        f"{part}{'ill' if number % 3 == 0 else 'well'}/p{number:03d}_{index}.jpg"
        for number in numbers
        for index in range(pictures)
    ]
    table = pd.DataFrame({"image_name": names})
    categories = table["image_name"].str.extract("(ill|well)/", expand=False)
    return table.assign(category=categories, status="used", reason="")


def test_pictures_of_one_group_are_in_one_part_and_the_parts_keep_their_shares():
    table = split_features(patients(range(150)), seed=1, group_pattern="p([0-9]+)_")
    assert (table["group"] == table["image_name"].str.extract("p([0-9]+)_", expand=False)).all()
    assert table.groupby("group")["split"].nunique().max() == 1
    counts = table["split"].value_counts()
    assert counts.sum() == 600
    assert abs(counts["train"] - 360) <= 8 and abs(counts["test"] - 120) <= 4
    share = (table["category"] == "ill").groupby(table["split"]).mean()
    assert ((share - 1 / 3).abs() < 0.05).all()
    shuffled = split_features(table.sample(frac=1, random_state=3), seed=1, group_pattern="p([0-9]+)_")
    pd.testing.assert_series_equal(shuffled["split"].sort_index(), table["split"])
    other = split_features(table, seed=2, group_pattern="p([0-9]+)_")
    assert not other["split"].equals(table["split"])


def test_the_groups_of_each_part_are_counted():
    table = pd.concat([patients(range(40)), patients(range(40, 41), pictures=9)], ignore_index=True)
    table = split_features(table, group_pattern="p[0-9]+")
    counted = splitting.groups_table(table)
    assert counted["groups"].sum() == 41 and counted["pictures"].sum() == 169
    largest = counted[counted["largest_group"] == "p040"]
    assert largest["its_size"].tolist() == [9]
    assert largest.index[0] == table["split"][table["group"] == "p040"].iloc[0]


def test_names_without_a_group_are_each_for_themselves_and_counted(caplog):
    table = pd.concat([patients(range(150)), plain_table(3, 3).replace({"cat": "ill", "dog": "well"})])
    table = split_features(table.reset_index(drop=True), group_pattern="p[0-9]+")
    assert "nothing in 6 names, such as 'cat.0.jpg'" in caplog.text
    assert table["group"].nunique() == 156
    assert "p003" in set(table["group"])


def test_groups_of_all_sizes_give_parts_of_their_shares_which_the_seed_draws():
    sizes = [300, 90, 60, *range(2, 40), *[10] * 20]  # one film of 300 pictures, many short ones
    table = pd.concat(
        [patients(range(number, number + 1), pictures=size) for number, size in enumerate(sizes)],
        ignore_index=True,
    )
    holds = []
    for seed in range(30):
        parts = split_features(table, seed, group_pattern="p([0-9]+)_")
        counts = parts.groupby(["category", "split"]).size() / parts.groupby("category").size()
        assert counts.xs("test", level="split").between(0.18, 0.22).all()
        assert counts.xs("validation", level="split").between(0.18, 0.22).all()
        groups = parts.drop_duplicates("group").set_index("group")["split"]
        assert len(groups) == len(sizes)
        holds.append(frozenset(groups[groups == "test"].index))
    assert len(set(holds)) == 30
    often = pd.Series([group for test in holds for group in test]).value_counts()
    assert len(often) > 50, "nearly every group is in some seed's test part"
    assert often.max() <= 20, "and none in all of them"


@pytest.mark.parametrize(
    ("sizes", "part"), [([10, 10, 10], ""), ([1, 1, 40], ""), ([5, 5, 10, 80], ""), ([10, 10], "train/")]
)
def test_three_groups_of_a_class_are_enough_for_three_parts(sizes, part):
    """Two small ones are nearer to a fifth than one, or none nearer to a quarter than one of the last two."""
    ill = [patients(range(3 * n, 3 * n + 1), part, size) for n, size in enumerate(sizes)]
    well = patients([number for number in range(100, 200) if number % 3], part)
    tested = [patients(range(300, 302), "test/", 10)] * bool(part)
    table = pd.concat([*ill, well, *tested], ignore_index=True)
    for seed in range(5):
        parts = split_features(table, seed, "p[0-9]+", keep_test_folder=bool(part))
        assert (parts.groupby("split")["category"].nunique() == 2).all()
        assert parts.groupby("group")["split"].nunique().max() == 1


def test_an_empty_finding_is_no_group_and_what_did_not_take_part_is_not_in_its_name():
    names = pd.Series(["a/p1.jpg", "a/x.jpg", "a/y.jpg", "a/p1b.jpg", "a/q2.jpg"])
    for pattern in ("(p[0-9])?", "(p[0-9])|(z)", "p[0-9]|"):
        found = splitting.find_groups(names.str.removeprefix("a/"), pattern).tolist()
        assert found == ["p1", "alone: x.jpg", "alone: y.jpg", "p1", "alone: q2.jpg"]
    assert splitting.find_groups(names, "(p)([0-9])|q(2)").tolist()[-1] == "2"
    with pytest.raises(ValueError, match="finds nothing in any name"):
        splitting.find_groups(names, "[0-9]*$")


@pytest.mark.parametrize("top", ["", "train_test_split/", "my test data/"])
def test_the_part_is_the_folder_above_the_class_whatever_lies_above_it(top):
    kinds = {"train/cats/1.jpg": False, "test_set/test_set/cats/1.jpg": True, "test/cats/1.jpg": True}
    kinds |= {"valid/cats/1.jpg": False, "validation_set/Cats/1.jpg": False}
    assert {name: is_in_test_folder(top + name, "cats") for name in kinds} == kinds
    assert not is_in_test_folder(top + "train/test_strip/1.jpg", "test_strip")
    assert not is_in_test_folder("test_strip/1.jpg", "test_strip")


@pytest.mark.parametrize("top", ["", "my test data/"])
def test_the_part_may_lie_below_the_class_that_a_pattern_finds(top):
    kinds = {"test_set/ill_1.jpg": True, "training_set/ill_1.jpg": False, "test/ill/p1/1.jpg": True}
    kinds |= {
        "ill/test_set/1.jpg": True,
        "test_set/hard/ill_1.jpg": True,
        "train/test_strip_ill/1.jpg": False,
    }
    assert {name: is_in_test_folder(top + name, "ill") for name in kinds} == kinds


def test_a_rare_class_is_told_with_what_is_to_be_done(caplog):
    split_features(plain_table(cats=19, dogs=171))
    assert caplog.text == ""
    split_features(plain_table(cats=18, dogs=190))
    assert (
        "cat are only 8.7 % of the pictures to learn from: always predicting dog is right for the others."
        " objective =" in caplog.text
    )


def test_a_class_that_is_rare_only_outside_the_kept_test_folder_is_told(caplog):
    given = plain_table(cats=40, dogs=40).assign(image_name=lambda rows: "test/" + rows["image_name"])
    both = pd.concat([plain_table(cats=5, dogs=95), given], ignore_index=True)
    split_features(both, keep_test_folder=True)
    assert "cat are only 5.0 % of the pictures to learn from: always predicting dog" in caplog.text


def test_a_kept_test_folder_is_the_test_part_and_a_quarter_of_the_rest_validates(caplog):
    table = pd.concat([patients(range(100), "train/"), patients(range(200, 230), "test_set/")])
    table = split_features(table.reset_index(drop=True), keep_test_folder=True)
    is_given = table["image_name"].str.startswith("test_set")
    assert ((table["split"] == "test") == is_given).all()
    assert (table["split"] == "validation").sum() == 100
    assert "group" not in table
    table = split_features(table, group_pattern="p[0-9]+", keep_test_folder=True)
    assert ((table["split"] == "test") == is_given).all()
    assert table.groupby("group")["split"].nunique().max() == 1
    assert 92 <= (table["split"] == "validation").sum() <= 108
    assert "left out" not in caplog.text


def test_pictures_of_a_group_of_the_kept_test_folder_are_left_out_of_the_rest(tmp_path, caplog):
    table = pd.concat([patients(range(100), "train/"), patients(range(90, 120), "test/")])
    table = split_features(table.reset_index(drop=True), group_pattern="p[0-9]+", keep_test_folder=True)
    assert "40 pictures outside the test folder belong to its groups: left out" in caplog.text
    tested = table["image_name"].str.contains("train/.*/p09")
    assert tested.sum() == 40
    assert set(table["reason"][tested]) == {
        f"its group is in the test folder: p{n:03d}" for n in range(90, 100)
    }
    assert (table["status"][tested] == "left out").all() and (table["split"][tested] == "").all()
    assert (table["status"][~tested] == "used").all() and (table["split"][~tested] != "").all()
    assert (table["split"] == "test").sum() == 120


def test_as_many_groups_and_pictures_as_it_takes_are_enough():
    table = patients(range(5), pictures=20)  # 0 and 3 are ill
    table.loc[table.index % 2 == 0, "category"] = "ill"  # and half of the others' pictures
    split = split_features(table, group_pattern="p[0-9]+")
    assert split.groupby("split")["group"].nunique().to_dict() == {"train": 3, "validation": 1, "test": 1}
    table = pd.concat([patients(range(20), "test/"), patients([0], pictures=2), patients([1], pictures=5)])
    split = split_features(table.reset_index(drop=True), keep_test_folder=True)
    assert split["split"].value_counts()[["train", "validation"]].tolist() == [5, 2]  # one of each class


def test_a_split_that_cannot_be_made_is_refused_with_the_parameter():
    table = patients(range(12))
    with pytest.raises(ValueError, match=r"group_pattern '\(' is no regular expression: .*"):
        split_features(table, group_pattern="(")
    with pytest.raises(ValueError, match=r"'patient' finds nothing in any name, such as 'ill/p000_0\.jpg'"):
        split_features(table, group_pattern="patient")
    with pytest.raises(
        ValueError,
        match=r"group_pattern makes too few groups \(1\) of 48 pictures to divide them: it takes 5",
    ):
        split_features(table, group_pattern="p0")
    with pytest.raises(
        ValueError, match="no labelled picture that can be used lies below a folder named test"
    ):
        split_features(table, keep_test_folder=True)
    one_sided = pd.concat([table, patients(range(1, 3), "test/")], ignore_index=True)
    words = "the test part would hold 'well' alone: set keep_test_folder to False$"
    with pytest.raises(ValueError, match=words):
        split_features(one_sided, keep_test_folder=True)
    nearly_all = table.assign(
        image_name=["test/" * (number > 0) + name for number, name in enumerate(table["image_name"])]
    )
    words = r"the test part leaves too few pictures for the others \(\{'ill': 1, 'well': 0\}\): set keep_test"
    with pytest.raises(ValueError, match=words):
        split_features(nearly_all, keep_test_folder=True)
    one_ill = table["category"].eq("ill") & (
        table.groupby("category").cumcount() > 0
    )  # all but one are tested
    one_left = table.assign(image_name=table["image_name"].where(~one_ill, "test/" + table["image_name"]))
    one_left = pd.concat([one_left, patients([1], "test/")], ignore_index=True)
    with pytest.raises(ValueError, match=r"for the others \(\{'ill': 1, 'well': 32\}\): set keep_test"):
        split_features(one_left, keep_test_folder=True)
    kept_back = table.groupby("category").head(2).index  # two and two: a quarter of them is one picture
    names = table["image_name"]
    four = table.assign(image_name=names.where(table.index.isin(kept_back), "test/" + names))
    with pytest.raises(ValueError, match=r"for the others \(\{'ill': 2, 'well': 2\}\): set keep_test"):
        split_features(four, keep_test_folder=True)
    two_ill = pd.concat([table[table["category"] == "well"], patients(range(0, 6, 3), pictures=30)])
    words = "the test part would hold 'well' alone: give a group_pattern of smaller groups$"
    with pytest.raises(ValueError, match=words):
        split_features(two_ill.reset_index(drop=True), group_pattern="p[0-9]+")


def test_the_positive_class_is_the_one_that_was_asked_for():
    table = pd.DataFrame(
        {"category": ["ill", "well", "", "ill"], "status": ["used", "used", "left out", "left out"]}
    )
    table["code"] = pd.array([0, 1, None, 0], "Int64")
    assert splitting.set_positive_class(table, "")["code"].tolist() == table["code"].tolist()
    asked = splitting.set_positive_class(table, "ILL")["code"]
    assert asked.tolist() == [1, 0, pd.NA, 1] and asked.dtype == "Int64"
    with pytest.raises(ValueError, match="positive_class is 'sick'; give one of 'ill', 'well'"):
        splitting.set_positive_class(table, "sick")
    accents = table.assign(category=["café", "bar", "", "café"])
    typed = splitting.set_positive_class(accents, "Cafe\u0301")["code"].tolist()
    assert typed == [1, 0, pd.NA, 1], "as some keyboards spell it"
