"""Transfer: one network from two stages, the same in memory, on features and in the saved file."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest

from src import transfer
from src.evaluation import cross_entropy, decide, predict_table
from src.features import extract_features, save_features, split_features
from src.finalists import load_network, train_finalists
from src.generators import load_batches
from src.images.cache import build_cache
from src.networks.ensemble import average_networks
from src.pretrained import transfer_results, transfer_spaces
from src.pretrained.backbone_features import Features
from src.pretrained.transfer_results import (
    Measured,
    average_validations,
    compare_networks,
    measure_test,
    note_results,
    save_networks,
)
from src.pretrained.transfer_spaces import FINE_TUNING, HEAD, attach_head, build_head
from src.results.opening import Opening
from src.runs import read_json, write_json
from src.sample import draw_sample
from src.search import make_search, run_search
from src.searches.planning import candidates
from src.searches.trials import TrialRecord, best_trial
from src.session import computing_in
from src.spaces import fixed

pytestmark = pytest.mark.long

SIZE = 32
numbers = keras.ops.convert_to_numpy


def build_small(name: str, image_size: int, weights: str = "none") -> keras.Model:
    """Returns what `build_backbone` would, with a backbone of one block, named as MobileNetV2 names it."""
    layers = keras.layers
    given = keras.Input((image_size, image_size, 3))
    x = layers.Rescaling(1 / 64)(given)
    x = layers.Conv2D(8, 5, 4, name="stem")(x)
    x = layers.Conv2D(12, 3, activation="relu", name="block_1_expand")(x)
    x = layers.BatchNormalization(name="block_1_norm")(x)
    inner = keras.Model(given, x)
    inner.trainable = False
    pictures = keras.Input((image_size, image_size, 3))
    return keras.Model(pictures, layers.GlobalAveragePooling2D()(inner(pictures)), name="small")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        root = tmp_path_factory.mktemp("transfer")
        patched.setenv("DATA_ROOT", str(root / "data"))
        patched.setattr(transfer_spaces, "build_backbone", build_small)
        yield root


@pytest.fixture(scope="module")
def run(places) -> Path:
    """What notebooks 01 and 02 leave of a small drawn sample."""
    drawn, folder = draw_sample(places / "drawn", number=60, traps=False), places / "run"
    table = split_features(extract_features(drawn))
    save_features(table, folder / "features.csv")
    cache = build_cache(drawn, table, places / "data" / "cache", 16, "nearest")
    write_json(folder / "data.json", {"folder": str(drawn), "fingerprint": "f"})
    settings = {"cache": cache.name, "image_size": 16, "first_image_size": 8, "interpolation": "nearest"}
    settings.update(batch_size=8, epoch_fraction=0.5, seed=1, workers=1)
    write_json(folder / "input.json", {**settings, "augmentation": {"crop_range": 0.2}})
    transfer.prepare_pictures(folder, SIZE)
    return folder


class Stages:
    """Both stages on the small run, trained once."""

    def __init__(self, run: Path):
        keras.utils.set_random_seed(5)
        self.run, self.backbone = run, build_small("MobileNetV2", SIZE)
        self.features = transfer.compute_run_features(run, self.backbone)
        training = transfer.make_head_training(self.features, epochs=3, patience=2)
        asked = {"objective": transfer.OBJECTIVE, "seed": 3}
        search = make_search("optuna", training, run / "transfer/heads", {}, **asked, max_trials=1)
        run_search(search)
        self.winner = best_trial(search.records(), transfer.OBJECTIVE)
        self.head = transfer.load_head(training, self.winner)
        self.frozen = attach_head(self.backbone, self.head)
        self.values = transfer.head_arguments(self.head, self.winner.hyperparameters)
        parts = {"backbone": "MobileNetV2", "head": self.values}
        parts["start"] = transfer.save_start(self.frozen, run)
        self.tuning = transfer.make_fine_tuning(run, 1, **parts)
        ways = make_search("optuna", self.tuning, run / "transfer/ways", {}, **asked, max_trials=1)
        run_search(ways)
        self.chosen = candidates(ways.records())
        self.folder = run / "transfer" / "fine_tuned"
        self.row = train_finalists(self.tuning, self.chosen, [3], self.folder, {}).iloc[0]
        self.tuned = load_network(self.tuning, self.chosen, self.row, self.folder)


@pytest.fixture(scope="module")
def stages(run) -> Stages:
    return Stages(run)


def test_all_but_the_size_of_the_pictures_stays_as_it_was_and_an_epoch_is_whole(run):
    before, now = read_json(run / "input.json"), read_json(run / transfer.INPUT)
    changed = {name for name in before if before[name] != now[name]}
    assert changed == {"image_size", "first_image_size", "cache", "epoch_fraction"}
    batches = load_batches(run, "train", input_file=transfer.INPUT)
    assert batches.pixels.shape[1] == SIZE and batches.epoch_fraction == 1


def test_settings_that_are_damaged_name_the_notebook_that_makes_them(run, tmp_path):
    """Else 06 would be named, which only copies them, or nothing at all."""
    for name in ("data.json", "features.csv"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    settings = read_json(run / "input.json")
    for damage in ({"interpolation": None}, {"seed": "one"}):
        write_json(tmp_path / "input.json", {**settings, **damage})
        with pytest.raises(ValueError, match=r"/input\.json is damaged: .*; run notebook 02 again"):
            transfer.prepare_pictures(tmp_path, SIZE)


def test_a_head_that_another_machine_trained_is_asked_for(stages, tmp_path):
    elsewhere = replace(stages.winner, folder=tmp_path / "trial_0000")
    with pytest.raises(FileNotFoundError, match="trial_0000/model.weights.h5 is missing: copy it from"):
        transfer.load_head(None, elsewhere)


def test_no_feature_is_computed_of_a_test_picture(stages):
    parts = stages.features.table["split"]
    assert set(parts) == {"train", "validation"} and (parts == "validation").sum() > 5


@pytest.mark.parametrize(("units", "parameters"), [(0, 10 + 1), (4, 10 * 4 + 4 + 4 + 1)])
def test_a_heads_parameters_are_those_counted_by_hand(units, parameters):
    assert build_head(10, units).count_params() == parameters


def test_a_head_does_not_ask_how_large_features_are():
    head, features = build_head(10), np.random.default_rng(0).normal(3, 2, (4, 10)).astype("float32")
    np.testing.assert_allclose(numbers(head(features)), numbers(head(50 * features)), atol=1e-3)


def test_the_frozen_network_says_of_pictures_what_the_head_says_of_their_features(stages):
    validation = load_batches(stages.run, "validation", input_file=transfer.INPUT)
    said = transfer.validate_head(stages.head, stages.features)
    for mirrored, column in ((False, "probability"), (True, "probability_with_mirror")):
        seen = predict_table(average_networks([stages.frozen], mirrored), validation)
        assert seen["image_name"].tolist() == said["image_name"].tolist()
        np.testing.assert_allclose(seen["probability"], said[column], atol=1e-5)


def test_patience_looks_at_the_loss_without_its_penalties(stages, monkeypatch):
    """A penalty can fall all the while that the cross-entropy rises."""
    asked, kind = {}, keras.callbacks.EarlyStopping
    monkeypatch.setattr(keras.callbacks, "EarlyStopping", lambda **more: kind(**(asked.update(more) or more)))
    training = transfer.make_head_training(stages.features, epochs=4, patience=2)
    values = fixed({"units": 0, "dropout": 0.0, "l2": 1e-2, "learning_rate": 1e-2})
    model = training.build(values)
    history = training.fit(values, model, 4, []).history
    assert (asked["monitor"], asked["mode"]) == ("val_log_loss", "min")
    kept = model.evaluate(training.serve("validation"), verbose=0, return_dict=True)
    assert kept["log_loss"] == pytest.approx(min(history["val_log_loss"]), abs=1e-5)


@pytest.mark.parametrize(("accelerator", "policy"), [(True, "mixed_float16"), (False, "float32")])
def test_only_an_accelerator_fine_tunes_in_sixteen_bits(accelerator, policy, monkeypatch):
    monkeypatch.setattr(transfer, "has_accelerator", lambda: accelerator)
    assert transfer.fine_tuning_precision("mixed_float16") == policy


def test_fine_tuning_begins_as_the_frozen_network(stages):
    assert stages.tuning.patience == 0, "the last epoch's weights are kept"
    network = stages.tuning.build(fixed(stages.chosen[0]["hyperparameters"]))
    pictures = load_batches(stages.run, "validation", input_file=transfer.INPUT)[0][0]
    np.testing.assert_allclose(numbers(network(pictures)), numbers(stages.frozen(pictures)), atol=1e-6)


def test_fine_tuning_trains_the_last_block_and_the_head(stages):
    def weights(network):
        inner, head = network.layers[1], network.get_layer("head")
        named = {layer.name: layer.get_weights() for layer in [*inner.layers, *head.layers]}
        return {name: values for name, values in named.items() if values}

    before, after = weights(stages.frozen), weights(stages.tuned)
    moved = {
        name
        for name, values in before.items()
        if not all(np.array_equal(*pair) for pair in zip(values, after[name], strict=True))
    }
    expected = {"block_1_expand", "probability"} | ({"hidden"} if stages.values["units"] else set())
    assert moved == expected


def table(*probabilities: float, mirror: tuple = ()) -> pd.DataFrame:
    codes = [0, 0, 1, 1]
    columns = {
        "image_name": ["a", "b", "c", "d"],
        "code": codes,
        "probability": probabilities,
        "probability_with_mirror": mirror or probabilities,
    }
    return pd.DataFrame(columns)


def test_the_best_on_validation_is_first_by_the_view_that_counts():
    one = table(0.1, 0.6, 0.9, 0.9, mirror=(0.1, 0.1, 0.9, 0.9))
    other = table(0.1, 0.1, 0.9, 0.9, mirror=(0.1, 0.6, 0.9, 0.9))
    both = {"frozen": one, "fine-tuned": other}
    assert compare_networks(both, True, False).index.tolist() == ["frozen", "fine-tuned"]
    compared = compare_networks(both, False, False)
    assert compared.index.tolist() == ["fine-tuned", "frozen"]
    assert compared.loc["frozen", ["as_it_is", "with_mirror_view"]].tolist() == [0.75, 1.0]
    assert compared.loc["fine-tuned", "log_loss"] == pytest.approx(-np.log(0.9), abs=1e-6)


def test_averaged_networks_are_compared_by_their_mean_and_only_on_the_same_pictures():
    first, second = table(0.2, 0.6, 0.9, 0.4), table(0.4, 0.1, 0.3, 0.9)
    mean = average_validations({"frozen": first, "fine-tuned": second})
    assert mean["probability"].tolist() == pytest.approx([0.3, 0.35, 0.6, 0.65])
    both = {"frozen": first, "fine-tuned": second, "averaged": mean}
    assert compare_networks(both, False, False)["as_it_is"].to_dict() == {
        **{"averaged": 1.0, "frozen": 0.5, "fine-tuned": 0.75}
    }
    with pytest.raises(ValueError, match="different pictures"):
        average_validations({"frozen": first, "fine-tuned": second.iloc[::-1].reset_index(drop=True)})


def test_of_two_that_are_equally_often_right_the_surer_one_is_first():
    both = {"frozen": table(0.3, 0.3, 0.7, 0.7), "fine-tuned": table(0.1, 0.1, 0.9, 0.9)}
    assert compare_networks(both, True, False).index[0] == "fine-tuned"


def test_a_network_that_is_too_sure_gets_a_temperature_above_1_from_the_view_that_counts():
    names = [f"{number}.jpg" for number in range(400)]
    codes = np.arange(400) % 2
    given = np.where(np.arange(400) < 40, 1 - codes, codes) * 0.998 + 0.001  # 0.999 where 0.9 are right
    modest = np.where(np.arange(400) < 40, 1 - codes, codes) * 0.4 + 0.3  # 0.7 there
    pictures = {"image_name": names, "code": codes, "probability": given, "probability_with_mirror": modest}
    validations = {"frozen": pd.DataFrame(pictures)}
    for mirrored, said in ((False, 0.999), (True, 0.7)):
        told = compare_networks(validations, mirrored, True).loc["frozen"]
        exact = np.log(said / (1 - said)) / np.log(9)
        assert told["temperature"] == pytest.approx(exact, rel=0.03)
        assert told["log_loss"] == pytest.approx(-0.9 * np.log(0.9) - 0.1 * np.log(0.1), abs=2e-3)
        left = compare_networks(validations, mirrored, False).loc["frozen"]
        assert left["temperature"] == 1 and left["log_loss"] > told["log_loss"]
    groups = {"frozen": pd.DataFrame({**pictures, "group": ["one"] * 200 + ["other"] * 200})}
    assert 1 < compare_networks(groups, False, True).loc["frozen", "temperature"] < 2.5  # worth few pictures


@pytest.mark.parametrize(("minutes", "left"), [(0.0, 0.0), (3.0, 2.0), (0.5, 0.1)])
def test_what_the_trials_took_is_taken_off_the_minutes(minutes, left):
    assert transfer.minutes_left(minutes, pd.DataFrame({"seconds": [20.0, 40.0]})) == pytest.approx(left)


TEMPERATURES = {"frozen": 2.0, "fine-tuned": 0.8, "averaged": 1.5}


@pytest.fixture
def saved(stages, tmp_path):
    """A function that saves both networks into a copy of the run, with the one that is the best."""
    for name in ("features.csv", "transfer/input.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((stages.run / name).read_bytes())

    def save(best: str) -> Path:
        networks = {"frozen": stages.frozen, "fine-tuned": stages.tuned}
        own = {"frozen": {"members": ["frozen"]}, "fine-tuned": {"members": ["b"]}}
        own["averaged"] = {"members": ["frozen", "b"]}
        save_networks(tmp_path, networks, best, {"mirrored_views": True}, own, TEMPERATURES)
        return tmp_path

    return save


def test_each_file_is_the_network_that_it_says_it_is(saved, stages):
    run = saved("fine-tuned")
    pictures = load_batches(stages.run, "validation", input_file=transfer.INPUT)[0][0]
    for stem, network, members, temperature in (
        ("transfer", "tuned", ["b"], 0.8),
        ("transfer_frozen", "frozen", ["frozen"], 2.0),
    ):
        opened = keras.models.load_model(run / f"{stem}.keras", safe_mode=True)
        expected = average_networks([getattr(stages, network)], True, temperature)
        np.testing.assert_allclose(numbers(opened(pictures)), numbers(expected(pictures)), atol=1e-6)
        said = read_json(run / f"{stem}.json")
        assert said["members"] == members and said["temperature"] == temperature


def test_where_the_average_is_the_best_the_file_holds_both(saved, stages):
    run = saved("averaged")
    pictures = load_batches(stages.run, "validation", input_file=transfer.INPUT)[0][0]
    opened = keras.models.load_model(run / "transfer.keras", safe_mode=True)
    expected = average_networks([stages.frozen, stages.tuned], True, 1.5)
    np.testing.assert_allclose(numbers(opened(pictures)), numbers(expected(pictures)), atol=1e-6)


def test_saved_again_a_network_is_the_same_file_and_the_test_part_stays_shut(saved):
    run = saved("fine-tuned")
    first = {stem: measure_test(run, stem, 1.0) for stem in ("transfer", "transfer_frozen")}
    saved("fine-tuned")
    again = measure_test(run, "transfer", 1.0)
    pd.testing.assert_frame_equal(again.predictions, first["transfer"].predictions)
    assert len(pd.read_csv(run / "test_openings.csv")) == 2
    metrics = read_json(run / "transfer_frozen_metrics.json")
    assert metrics["loss"] == pytest.approx(metrics["cross_entropy"] + metrics["penalty"], rel=1e-3)
    assert metrics["training_minutes"] == 1 and metrics["n"] == len(first["transfer_frozen"].predictions)
    assert len(pd.read_csv(run / "transfer_predictions.csv")) == metrics["n"]


def test_where_the_frozen_network_is_the_best_the_test_part_is_opened_once(saved):
    run = saved("frozen")
    assert (run / "transfer.keras").read_bytes() == (run / "transfer_frozen.keras").read_bytes()
    for stem in ("transfer", "transfer_frozen"):
        measure_test(run, stem, 1.0)
    assert len(pd.read_csv(run / "test_openings.csv")) == 1
    saved("fine-tuned")  # another choice, another file
    assert (run / "transfer.keras").read_bytes() != (run / "transfer_frozen.keras").read_bytes()


def test_a_missing_network_names_its_notebook(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"transfer\.keras is missing; run notebook 06"):
        measure_test(tmp_path, "transfer", 1.0)


def test_features_of_another_order_are_not_confused():
    """The rows of the table and of the values belong together, whatever their index in the cache."""
    values = np.arange(12, dtype="float32").reshape(2, 3, 2)
    pictures = pd.DataFrame(
        {"image_name": list("abc"), "code": [0, 1, 0], "split": "validation"}, index=[7, 3, 5]
    )
    batches = transfer.make_head_training(Features(values, pictures, 0.0), 1).serve("validation")
    np.testing.assert_array_equal(batches[0][0], values[0])


def test_a_wrong_label_is_doubted_by_a_head_that_was_not_trained_on_it():
    random = np.random.default_rng(0)
    codes = np.arange(100) % 2
    values = np.stack([random.normal(3.0 * codes[:, None], 1.0, (100, 8)) for _ in range(2)])
    table = pd.DataFrame({"image_name": [f"{number}.jpg" for number in range(100)], "code": codes})
    table.loc[30, "code"] = 1  # it looks like code 0
    judged = transfer.cross_validate(Features(values, table, 0.0), seed=1)
    assert judged["image_name"].tolist() == table["image_name"].tolist()
    assert judged["code"].tolist() == table["code"].tolist()
    of_label = judged["probability"].where(judged["code"] == 1, 1 - judged["probability"])
    assert of_label.idxmin() == 30 and of_label[30] < 0.5
    again = transfer.cross_validate(Features(values, table.set_axis(range(7, 107)), 0.0), seed=1)
    pd.testing.assert_frame_equal(again, judged)  # whatever the rows' places in the cache


def test_a_mirror_image_is_of_no_use_where_pictures_may_not_be_flipped(run):
    """Left and right tell the classes apart: the mirror image of one looks like the other."""
    random = np.random.default_rng(0)
    codes = np.arange(100) % 2
    values = np.stack([random.normal(sign * 3.0 * (codes[:, None] - 0.5), 0.5, (100, 8)) for sign in (1, -1)])
    table = pd.DataFrame({"image_name": [f"{number}.jpg" for number in range(100)], "code": codes})
    right = {}
    for may_flip in (True, False):
        judged = transfer.cross_validate(Features(values, table, 0.0, may_flip), seed=1)
        right[may_flip] = ((judged["probability"] > 0.5) == judged["code"]).mean()
    assert right[False] == 1 and right[True] < 0.8


def test_features_know_whether_pictures_may_be_flipped(run, stages):
    assert stages.features.may_flip
    settings = read_json(run / transfer.INPUT)
    try:
        flipless = {**settings, "augmentation": {**settings["augmentation"], "horizontal_flip": False}}
        write_json(run / transfer.INPUT, flipless)
        assert not transfer.compute_run_features(run, stages.backbone).may_flip
    finally:
        write_json(run / transfer.INPUT, settings)


@pytest.mark.parametrize("groups", [2, 4, 9])
def test_few_groups_make_fewer_folds(groups):
    random = np.random.default_rng(0)
    codes = np.arange(90) % 2
    values = np.stack([random.normal(3.0 * codes[:, None], 1.0, (90, 8))] * 2)
    table = pd.DataFrame({"image_name": [f"{number}.jpg" for number in range(90)], "code": codes})
    table["group"] = np.arange(90) // 2 % groups
    assert len(transfer.cross_validate(Features(values, table, 0.0), seed=1)) == 90
    few = Features(values[:, :6], table.head(6).drop(columns="group"), 0.0)
    assert len(transfer.cross_validate(few, seed=1)) == 6


def test_a_fold_without_any_of_a_few_groups_is_left_out():
    """With three patients of one class and two of the other, scikit-learn gives one of five folds nothing."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(5), [8, 14, 10, 12, 13])
    codes = groups % 2
    values = np.stack([random.normal(3.0 * codes[:, None], 1.0, (len(codes), 8))] * 2)
    names = [f"{number}.jpg" for number in range(len(codes))]
    table = pd.DataFrame({"image_name": names, "code": codes, "group": groups})
    assert transfer.cross_validate(Features(values, table, 0.0), seed=1)["probability"].notna().all()


def test_where_one_fold_would_hold_all_groups_of_a_class_each_group_is_one():
    """Two of six patients are ill, one of them in one picture; the others fill four of the five folds."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), [100, 100, 100, 100, 4, 200])
    codes = np.where(groups < 4, 0, np.arange(len(groups)) % 2)
    codes[groups == 4] = [0, 0, 0, 1]
    values = np.stack([random.normal(3.0 * codes[:, None], 1.0, (len(codes), 8))] * 2)
    names = [f"{number}.jpg" for number in range(len(codes))]
    table = pd.DataFrame({"image_name": names, "code": codes, "group": groups})
    judged = transfer.cross_validate(Features(values, table, 0.0), seed=1)
    assert judged["probability"].notna().all() and judged["probability"][groups == 4].idxmax() == 403


def test_a_picture_is_shown_by_its_name_not_by_its_place(stages):
    names = stages.features.table["image_name"].tolist()[:4]
    batches = load_batches(stages.run, "train", input_file=transfer.INPUT)
    shown = transfer.cached_pictures(stages.run, stages.features, reversed(names))
    row = dict(zip(batches.image_names, batches.rows, strict=True))
    for name, picture in zip(reversed(names), shown, strict=True):
        if name in row:
            np.testing.assert_array_equal(picture, batches.pixels[row[name]])
    assert any(name in row for name in names)


def pretended(folder: Path, seconds: list[float], score: float) -> SimpleNamespace:
    """Returns a search whose trials were interrupted after so many seconds, one epoch each."""
    records = []
    for number, each in enumerate(seconds, start=1):
        place = folder / f"trial_{number}"
        write_json(place / "record.json", {"seconds": each})
        pd.DataFrame({"epoch": [1], "val_log_loss": [0.3], "seconds": each}).to_csv(place / "history.csv")
        records.append(TrialRecord(number, {}, "interrupted", score, "", place))
    return SimpleNamespace(folder=folder, claims=SimpleNamespace(max_trials=4), records=lambda: records)


@pytest.mark.parametrize(
    ("seconds", "score", "minutes", "given"),
    [
        ([], 0.3, 2.0, 2.0),  # nothing was tried yet
        ([30.0], 0.3, 2.0, 1.5),
        ([30.0, 100.0], 0.3, 2.0, None),  # no trial more: the last training has the other half
        ([130.0], math.nan, 2.0, 0.1),  # no trial that the last training could be of
        ([130.0], 0.3, 0.0, 0.0),
    ],
)
def test_a_later_run_gives_the_trials_only_what_they_have_left(
    seconds, score, minutes, given, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(transfer, "run_search", lambda search, minutes: asked.append(minutes))
    transfer.search_within(pretended(tmp_path, seconds, score), minutes)
    assert asked == ([] if given is None else [pytest.approx(given)])


def test_a_label_is_judged_by_heads_that_saw_no_picture_of_its_group():
    """Ten wrong labels of one patient: a head that has seen nine of them believes the tenth."""
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(40) % 2, 10)
    groups = np.repeat(np.arange(40), 10)
    centres = random.normal(size=(40, 50))
    values = centres[groups] + 0.1 * random.normal(size=(400, 50)) + codes[:, None] * 1.0
    wrong = groups == 7
    table = pd.DataFrame({"image_name": [f"{row}.jpg" for row in range(400)]})
    table["code"] = np.where(wrong, 1 - codes, codes)
    alone = transfer.cross_validate(Features(np.stack([values, values]), table, 0.0), seed=1)
    together = transfer.cross_validate(
        Features(np.stack([values, values]), table.assign(group=groups), 0.0), seed=1
    )
    trusted = [
        judged["probability"][wrong].mean() for judged in (alone, together)
    ]  # of the label, which is 0
    assert trusted[1] > trusted[0] + 0.05


def test_once_the_trials_have_had_their_minutes_a_later_run_changes_nothing(tmp_path, monkeypatch):
    """Building networks took half a minute that no trial counts as its own."""
    asked = []
    monkeypatch.setattr(transfer, "run_search", lambda search, minutes: asked.append(minutes))
    search = pretended(tmp_path, [60.0, 30.0], 0.3)
    search.records()[1] = replace(search.records()[1], score=math.nan)  # it failed
    for minutes, trials, times in ((2.0, 4, 1), (2.0, 4, 1), (3.0, 4, 2), (3.0, 5, 3), (3.0, 5, 3)):
        search.claims.max_trials = trials
        transfer.search_within(search, minutes)
        assert len(asked) == times, (minutes, trials)


def test_a_search_that_was_stopped_has_not_had_its_minutes(tmp_path, monkeypatch):
    def stop(search, minutes):
        raise KeyboardInterrupt

    search = pretended(tmp_path, [90.0], 0.3)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(transfer, "run_search", stop)
        transfer.search_within(search, 2.0)
    asked = []
    monkeypatch.setattr(transfer, "run_search", lambda search, minutes: asked.append(minutes))
    transfer.search_within(search, 2.0)
    assert asked == [pytest.approx(0.5)]


def test_the_epochs_of_a_killed_trial_are_taken_off_the_minutes(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(transfer, "run_search", lambda search, minutes: asked.append(minutes))
    search = pretended(tmp_path, [30.0, 45.0], math.nan)
    (tmp_path / "trial_2" / "record.json").unlink()  # as at the beginning of each attempt
    transfer.search_within(search, 2.0)
    assert asked == [pytest.approx(0.75)]


def test_weights_that_a_kill_left_make_room_for_the_next_ones(tmp_path):
    (tmp_path / "transfer").mkdir()
    (tmp_path / "transfer" / "9.partial.weights.h5").touch()
    path = transfer.save_start(build_head(4), tmp_path)
    assert list(path.parent.iterdir()) == [path]


def test_a_kill_leaves_no_earlier_result_without_its_predictions(tmp_path, monkeypatch):
    """Whoever collects the results of this run, or of one beside it, would find no table of predictions."""
    left = [
        tmp_path / "results" / f"{stem}.{kind}"
        for stem in ("transfer", "transfer_frozen")
        for kind in ("csv", "json")
    ]
    left[0].parent.mkdir()
    for file in left:
        file.touch()
    unlink, glob = Path.unlink, Path.glob

    def look(path):
        unlink(path)
        assert all(
            file.with_suffix(".csv").exists() for file in left if file.suffix == ".json" and file.exists()
        )

    monkeypatch.setattr(Path, "glob", lambda *arguments: sorted(glob(*arguments)))
    monkeypatch.setattr(Path, "unlink", look)
    with pytest.raises(FileNotFoundError, match="input"):
        note_results(tmp_path, "MobileNetV2", {}, {})
    assert not any(file.exists() for file in left)


def test_hyperparameters_reach_the_layers_of_a_head():
    values = {"units": 64, "dropout": 0.3, "l2": 0.02, "learning_rate": 1e-2}
    head = HEAD.build(fixed(values), features=4, steps=100)
    hidden, last = head.get_layer("hidden"), head.get_layer("probability")
    assert [float(layer.kernel_regularizer.l2) for layer in (hidden, last)] == pytest.approx([0.02, 0.02])
    assert (hidden.units, head.get_layer("dropout").rate) == (64, 0.3)
    assert hidden.activation is keras.activations.relu
    assert float(head.optimizer._learning_rate(10)) == pytest.approx(1e-2)


def test_a_probability_has_32_bits_whatever_the_network_computes_in():
    """In 16 bits one near 1 rounds to 1, and its cross-entropy loses its gradient."""
    with computing_in("mixed_bfloat16"):
        head = build_head(4, units=8)
    assert head.get_layer("hidden").compute_dtype == "bfloat16"
    assert head.outputs[0].dtype == "float32"


def test_the_learning_rate_warms_up_for_a_tenth_and_falls_like_a_cosine():
    network = transfer_spaces.compile_network(build_head(4), 1e-2, steps=100)
    rate = [float(network.optimizer._learning_rate(step)) for step in (0, 5, 10, 55, 100, 120)]
    half, end = 1e-2 * (1 + 1e-3) / 2, 1e-5
    assert rate == pytest.approx([4e-4, (4e-4 + 1e-2) / 2, 1e-2, half, end, end], rel=1e-4)


def test_hyperparameters_reach_the_fine_tuning(stages):
    asked = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transfer_spaces, "unfreeze", lambda network, name, blocks: asked.append(blocks))
        values = {"unfrozen_blocks": 3, "learning_rate": 2e-4, "augmentation_strength": 0.5}
        network = stages.tuning.build(fixed(values))
        stages.tuning.build(space := keras_tuner.HyperParameters())
    assert asked == [3, 5], "untuned, a default of five blocks"
    assert next(entry for entry in space.space if entry.name == "learning_rate").sampling == "log"
    batches = stages.tuning.training_batches(FINE_TUNING.choose_batches(fixed(values)))
    steps = stages.tuning.epochs * len(batches)
    assert float(network.optimizer._learning_rate(round(0.1 * steps))) == pytest.approx(2e-4)
    run_augmentation = load_batches(
        stages.run, "train", training=True, input_file=transfer.INPUT
    ).augmentation
    assert batches.augmentation == run_augmentation.strengthened(0.5)


def test_the_head_that_is_used_is_the_one_that_the_search_scored(stages):
    assert cross_entropy(transfer.validate_head(stages.head, stages.features)) == pytest.approx(
        stages.winner.score, abs=1e-4
    )


def test_a_head_is_built_again_from_its_own_arguments():
    values = {"units": 4, "dropout": 0.3, "l2": 0.02}
    kept = transfer.head_arguments(build_head(10, **values), {**values, "learning_rate": 1e-2})
    assert kept == {"features": 10, **values}


def test_figures_that_keras_does_not_confirm_are_not_written(tmp_path, monkeypatch):
    predictions = decide(table(0.1, 0.2, 0.9, 0.4))  # 3 of 4 are right
    opened = Opening(predictions, {"loss": 1.0, "accuracy": 1.0}, pd.DataFrame())
    monkeypatch.setattr(transfer_results, "open_test", lambda *arguments: opened)
    with pytest.raises(ValueError, match="Keras measured 1"):
        measure_test(tmp_path, "transfer", 1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("best", "weights"), [("averaged", "none"), ("frozen", "imagenet")])
def test_each_network_is_noted_once_under_its_own_name(best, weights, tmp_path, monkeypatch):
    noted = {}

    def note(run, name, title, predictions, facts):
        noted[title] = (name, predictions, facts)

    monkeypatch.setattr(transfer_results, "load_batches", lambda run, part, input_file: (part, input_file))
    monkeypatch.setattr(transfer_results, "measure_cost", lambda *arguments: {"cost": arguments})
    monkeypatch.setattr(transfer_results, "note_result", note)
    saved = {"transfer": best, "transfer_frozen": "frozen"}
    measured = {}
    for minutes, stem in enumerate(saved):
        write_json(tmp_path / f"{stem}.json", {"weights": weights})
        measured[stem] = Measured(f"of {stem}", {"loss": 0.5, "training_minutes": minutes})
    note_results(tmp_path, "ResNet50", saved, measured)
    untrained = " (random weights)" if weights == "none" else ""
    expected = {f"ResNet50, {name}{untrained}": f"of {stem}" for stem, name in saved.items()}
    assert {title: predictions for title, (_, predictions, _) in noted.items()} == expected
    for name, predictions, facts in noted.values():
        assert predictions == f"of {name}"
        cost = (tmp_path / f"{name}.keras", ("validation", transfer.INPUT), list(saved).index(name))
        assert facts == {"loss": 0.5, "cost": cost}
