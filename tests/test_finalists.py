"""The best few trained again: what is kept, what is planned, who wins, what averaging gains."""

import math
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from keras_tuner import HyperParameters
from keras_tuner.errors import FailedTrialError

import src.finalists
import src.training
from src.finalists import load_network, train_finalist, train_finalists
from src.generators import PictureBatches
from src.images.augmentation import Augmentation
from src.images.growth import growing_sizes, grown_size, relative_costs, spans
from src.networks.ensemble import average_networks
from src.networks.normalization import settle_normalization
from src.results.averaging import average_predictions, averaging_gains, choose_members, finalists_table
from src.running.locks import hold
from src.runs import read_json
from src.searches.callbacks import Deadline, HistoryFile
from src.searches.halving import halve
from src.searches.pace import RESERVE, KeepPace
from src.searches.planning import (
    candidates,
    expected_seconds,
    new_seeds,
    plan_finalists,
    planned_epochs,
    rank_candidates,
)
from src.searches.trials import TrialRecord
from src.spaces import Space, as_settled, fixed
from src.training import PictureTraining, make_training

pytestmark = pytest.mark.long

SECONDS = {"seconds_an_epoch": 0.7, "seconds_a_validation": 0.3}
FINALISTS = [
    {"trial": 4, "hyperparameters": {"units": 8, "batch_size": 4}, "score": 0.9, **SECONDS},
    {"trial": 2, "hyperparameters": {"units": 2, "batch_size": 8}, "score": 0.8, **SECONDS},
]


def build(hp, image_size, steps) -> keras.Model:
    layers = [
        keras.Input((image_size, image_size, 3)),
        keras.layers.Flatten(),
        keras.layers.Rescaling(1 / 99),
    ]
    layers += [keras.layers.Dense(hp.Int("units", 1, 9), "relu"), keras.layers.Dense(1, "sigmoid")]
    model = keras.Sequential(layers)
    schedule = keras.optimizers.schedules.CosineDecay(0.01, steps)
    model.compile(keras.optimizers.Adam(schedule), "binary_crossentropy", metrics=["accuracy"])
    return model


def serve(part: str, training: bool = False, batch_size: int = 8, seed: int | None = None) -> PictureBatches:
    """Returns 16 training or 8 validation squares, those of code 1 bright."""
    random = np.random.default_rng(0)
    codes = np.arange(24) % 2
    pixels = (random.integers(0, 200, (24, 8, 8, 3)) + 40 * codes[:, None, None, None]).astype("uint8")
    rows = {"train": np.arange(16), "validation": np.arange(16, 24)}[part]  # the test part is nobody's
    names = [f"{row}.jpg" for row in rows]
    return PictureBatches(pixels, rows, codes[rows], names, batch_size, training, seed=seed or 0, workers=1)


def serve_augmented(part: str, training: bool = False, **choices) -> PictureBatches:
    batches = serve(part, training, **choices)
    batches.augmentation = Augmentation() if training else None
    return batches


def make(epochs: int = 3, serve=serve, **more) -> PictureTraining:
    space = Space(build, lambda hp: {"batch_size": hp.Choice("batch_size", [4, 8])}, ("steps",))
    return PictureTraining(space, {"image_size": 8, "decay_steps": 9}, serve, epochs, **more)


def train(folder, minutes=0.0, seeds=(1, 2), epochs=3, finalists=FINALISTS):
    return train_finalists(make(epochs), finalists, list(seeds), folder, {"data": "x"}, minutes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finalists")
    return folder, train(folder)


def test_a_network_gets_its_steps_and_only_the_settings_its_space_takes():
    model = make(epochs=5).build(fixed({"units": 3, "batch_size": 4}))
    assert model.optimizer._learning_rate.decay_steps == 5 * 16 / 4


def test_where_epochs_are_shortened_a_finalist_is_still_judged_on_every_validation_picture(tmp_path):
    def serve_a_part(part, **choices):
        batches = serve(part, **choices)
        batches.epoch_fraction, batches.shuffle = 1 / 2, True  # as `load_batches` does for 1/16 of an epoch
        return batches

    training = make(epochs=1)
    training.serve = serve_a_part
    table = train_finalists(training, FINALISTS[:1], [1], tmp_path, {})
    kept = pd.read_csv(tmp_path / table["folder"].iloc[0] / "validation.csv")
    assert kept["image_name"].tolist() == [f"{row}.jpg" for row in range(16, 24)]
    assert kept["code"].tolist() == [row % 2 for row in range(16, 24)]


def test_every_finalist_is_trained_with_every_seed(trained):
    folder, table = trained
    assert set(zip(table["trial"], table["seed"], strict=True)) == {(4, 1), (4, 2), (2, 1), (2, 2)}
    assert (table["epochs"] == 3).all()
    for name, unaveraged in zip(table["folder"], table["val_accuracy_unaveraged"], strict=True):
        history = pd.read_csv(folder / name / "history.csv")
        assert len(history) == 3 and history["val_accuracy"].iloc[-1] == unaveraged
        assert not list((folder / name).glob("checkpoint*")), "megabytes that nobody needs any more"


def test_a_second_run_trains_nothing_and_a_changed_one_all(trained, monkeypatch):
    folder, table = trained
    pd.testing.assert_frame_equal(train(folder), table)
    with monkeypatch.context() as patched:
        patched.setattr(PictureTraining, "fit", lambda *args, **kwargs: 1 / 0)
        another_search = [{**finalist, "score": 0.5} for finalist in FINALISTS]
        assert set(train(folder, finalists=another_search)["first_score"]) == {0.5}
        with pytest.raises(ZeroDivisionError):
            train(folder, epochs=4)
        for changed in ({"patience": 1}, {"validation_freq": 2}):
            with pytest.raises(ZeroDivisionError):
                train_finalists(make(3, **changed), FINALISTS, [1], folder, {"data": "x"})


def test_two_processes_do_not_train_the_same_finalists(tmp_path, monkeypatch):
    def train_too(self, *parts, **more):
        with hold(next(tmp_path.glob("*/search.json")).parent, wait=0):
            pass

    monkeypatch.setattr(PictureTraining, "fit", train_too)
    with pytest.raises(RuntimeError, match="is being worked on by process"):
        train(tmp_path)


def test_a_training_that_the_disk_has_no_room_for_is_not_begun(tmp_path, monkeypatch):
    """HDF5 would end the process where it ends."""
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=100))
    monkeypatch.setattr(PictureTraining, "fit", lambda *parts, **more: pytest.fail("it was begun"))
    with pytest.raises(OSError, match="trial_4-seed_1 is full; free some space"):
        train(tmp_path)


def test_the_state_that_a_kill_left_beside_a_result_is_deleted(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "copy")
    place = next((tmp_path / "copy").glob("*/*/result.json")).parent
    left = [place / "checkpoint.npz", place / "9.partial.weights.h5"]
    for file in left:
        file.touch()
    train(tmp_path / "copy")
    assert not any(file.exists() for file in left) and (place / "model.weights.h5").exists()


def test_other_minutes_are_other_trainings(tmp_path):
    """What had a minute is not taken for what is to have an hour."""
    short, long = (train(tmp_path, minutes, seeds=(1,), finalists=FINALISTS[:1]) for minutes in (1, 60))
    assert short["folder"][0] != long["folder"][0]


def test_the_result_of_other_weights_does_not_stay_beside_new_ones(trained, tmp_path, monkeypatch):
    place = tmp_path / "trial_4-seed_1"
    shutil.copytree(trained[0] / trained[1]["folder"][0], place)
    assert (
        train_finalist(make(), FINALISTS[0], 1, place, math.inf)["val_accuracy"]
        == trained[1]["val_accuracy"][0]
    )
    monkeypatch.setattr(PictureTraining, "fit", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_finalist(make(), {**FINALISTS[1], "trial": 4}, 1, place, math.inf)
    assert not (place / "result.json").exists()


def test_a_training_that_goes_astray_is_left_out_and_the_others_go_on(tmp_path, monkeypatch, caplog):
    original = PictureTraining.fit

    def fit(self, hp, *arguments, **more):
        if hp.values["units"] == 8:
            raise FailedTrialError("the loss was nan in epoch 2")
        return original(self, hp, *arguments, **more)

    monkeypatch.setattr(PictureTraining, "fit", fit)
    table = train(tmp_path)
    assert table["trial"].tolist() == [2, 2] and table["seed"].tolist() == [1, 2]
    assert "trial_4-seed_2 failed and is left out: the loss was nan in epoch 2" in caplog.text
    with pytest.raises(
        RuntimeError, match="each training of the finalists failed; the first: trial_4-seed_1"
    ):
        train(tmp_path, finalists=FINALISTS[:1])


def test_what_a_finalist_has_trained_takes_no_memory_once_it_is_over(tmp_path, monkeypatch):
    """Nor if it goes astray. TensorFlow's graph of a training would keep the values for ever."""
    networks, fit = [], PictureTraining.fit

    def go_astray(self, hp, model, *arguments, **more):
        networks.append(model)
        history = fit(self, hp, model, *arguments, **more)
        if hp.values["units"] == 2:
            raise FailedTrialError("the loss was nan in epoch 2")
        return history

    monkeypatch.setattr(PictureTraining, "fit", go_astray)
    table = train(tmp_path, seeds=(1,), epochs=1)
    assert len(networks) == 2 and len(table) == 1
    for network in networks:
        moments = [variable for variable in network.optimizer.variables if variable.dtype == "float32"]
        assert len(moments) > len(network.trainable_variables)
        assert {tuple(value.value.read_value().shape) for value in [*network.variables, *moments]} == {(0,)}


def test_predictions_that_are_not_finite_fail_one_training_and_its_minutes_are_spent(tmp_path, monkeypatch):
    """The last step of the last epoch can be too much: the epoch's loss was finite."""
    given, save = [], src.finalists.save_weights

    def spoil(model, path):
        model.layers[-1].bias.assign([math.nan] if "trial_4" in str(path) else [0.0])
        save(model, path)

    def note(*parts, **more):
        given.append(parts[4])
        return train_finalist(*parts, **more)

    monkeypatch.setattr(src.finalists, "save_weights", spoil)
    monkeypatch.setattr(src.finalists, "train_finalist", note)
    table = train(tmp_path, minutes=1, seeds=(1,))
    assert table["trial"].tolist() == [2]
    place = next(tmp_path.glob("*/trial_4-seed_1"))
    failed = read_json(place / "result.json")
    assert "not finite" in failed["failure"] and failed["seconds"] > 0
    assert not list(place.glob("checkpoint*"))
    assert given == [0.5, pytest.approx(1 - failed["seconds"] / 60)]
    assert table.attrs["seconds"] == table["seconds"].sum() + failed["seconds"], "not lost on the reader"
    monkeypatch.setattr(PictureTraining, "fit", lambda *parts, **more: pytest.fail("it was trained again"))
    pd.testing.assert_frame_equal(train(tmp_path, minutes=1, seeds=(1,)), table)


@pytest.mark.parametrize("spent", [0.3, 2.0])
def test_a_finalist_goes_on_in_the_minutes_that_it_has_left_and_not_beyond_them(spent, tmp_path, monkeypatch):
    """Killed after its fifth epoch, or when its minute was over; the state of a sixth was not yet written."""
    seen, fit = [], PictureTraining.fit
    candidate = {**FINALISTS[0], "seconds_an_epoch": 5.0, "seconds_a_validation": 0.0}

    def kill(self, hp, model, epochs, callbacks, **more):
        def end(epoch, logs):
            if epoch == 5:
                raise KeyboardInterrupt

        return fit(self, hp, model, epochs, [*callbacks, keras.callbacks.LambdaCallback(on_epoch_begin=end)])

    def note(self, hp, model, epochs, callbacks, **more):
        seen.extend(callbacks)
        return fit(self, hp, model, epochs, callbacks, **more)

    monkeypatch.setattr(PictureTraining, "fit", kill)
    with pytest.raises(KeyboardInterrupt):
        train_finalist(make(12), candidate, 1, tmp_path, minutes=1.0)
    history = pd.read_csv(tmp_path / "history.csv")
    history = pd.concat([history, history.tail(1).assign(epoch=6)])
    history.assign(seconds=history["seconds"] * 60 * spent / history["seconds"].max()).to_csv(
        tmp_path / "history.csv", index=False
    )
    monkeypatch.setattr(PictureTraining, "fit", note)
    row = train_finalist(make(12), candidate, 1, tmp_path, minutes=1.0)
    assert pd.read_csv(tmp_path / "history.csv")["epoch"].tolist() == list(range(1, row["epochs"] + 1))
    deadline = next(each for each in seen if isinstance(each, Deadline))
    pace = next(each for each in seen if isinstance(each, KeepPace))
    assert pace.deadline is deadline
    assert (row["planned_epochs"], len(pace.expected), pace.most) == (11, 11, 12)
    assert (row["epochs"] == 5) == (spent > 1)
    if spent < 1:
        assert deadline.moment - time.monotonic() < 60 * 0.7, "a minute, less what was spent before"


def kill_in_epoch_3(monkeypatch) -> None:
    """Ends each training as a kill would, in its third epoch."""
    fit = PictureTraining.fit

    def end(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    def kill(self, hp, model, epochs, callbacks, **more):
        return fit(self, hp, model, epochs, [*callbacks, keras.callbacks.LambdaCallback(end)], **more)

    monkeypatch.setattr(PictureTraining, "fit", kill)


def test_an_interrupted_finalist_keeps_its_plan_and_counts_its_seconds_before(tmp_path, monkeypatch):
    """The machine is slower now: planned anew, fewer epochs would fit, and the state would not."""
    slow, minute = {**FINALISTS[0], "seconds_an_epoch": 8.0}, {"minutes": 1.0}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        kill_in_epoch_3(patched)
        train_finalist(make(12), slow, 1, tmp_path, **minute)
    restore = HistoryFile.restore

    def long_ago(self, rows):
        restore(self, rows)
        self.earlier = 30.0

    monkeypatch.setattr(HistoryFile, "restore", long_ago)
    row = train_finalist(make(12), slow, 1, tmp_path, **minute, pace=3.0)
    assert row["planned_epochs"] == 6 and row["seconds"] >= 30


def test_a_finalist_that_fails_after_a_kill_has_spent_the_minutes_before_it_as_well(tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        kill_in_epoch_3(patched)
        train_finalist(make(), FINALISTS[0], 1, tmp_path, math.inf)
    history = pd.read_csv(tmp_path / "history.csv")
    history.assign(seconds=[100.0, 200.0]).to_csv(tmp_path / "history.csv", index=False)
    failed = FailedTrialError("the loss was nan in epoch 3")
    monkeypatch.setattr(PictureTraining, "fit", lambda *parts, **more: (_ for _ in ()).throw(failed))
    with pytest.raises(FailedTrialError):
        train_finalist(make(), FINALISTS[0], 1, tmp_path, math.inf)
    assert read_json(tmp_path / "result.json")["seconds"] == 200


def test_the_seconds_before_memory_ran_out_count_as_well(tmp_path, monkeypatch):
    """Else the trainings after it would be given minutes that are over."""
    fit, clock = PictureTraining.fit, time.monotonic

    def lack(self, *parts, **more):
        if self.batch_divisor == 1:
            monkeypatch.setattr(time, "monotonic", lambda: clock() + 100)
            raise MemoryError("the large pictures")
        return fit(self, *parts, **more)

    monkeypatch.setattr(PictureTraining, "fit", lack)
    assert 100 <= train_finalist(make(epochs=1), FINALISTS[0], 1, tmp_path, math.inf)["seconds"] < 300


def test_a_finalist_that_is_stopped_after_memory_ran_out_resumes_at_half_the_batch_size(
    tmp_path, monkeypatch
):
    """Its first, small pictures would fit at the full one, and its epochs of larger ones would be lost."""
    divisors = []

    def lack(self, *parts, **more):
        divisors.append(self.batch_divisor)
        raise MemoryError("the large pictures") if self.batch_divisor == 1 else KeyboardInterrupt

    monkeypatch.setattr(PictureTraining, "fit", lack)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_finalist(make(), FINALISTS[0], 1, tmp_path, math.inf)
    assert divisors == [1, 2, 2]


def test_pictures_come_in_another_order_with_each_seed(tmp_path, monkeypatch):
    orders, fit = [], PictureTraining.fit

    def note(self, *parts, **more):
        orders.append(tuple(self.training_batches({}).positions(0)))
        return fit(self, *parts, **more)

    monkeypatch.setattr(PictureTraining, "fit", note)
    train(tmp_path, seeds=(1, 2), epochs=1, finalists=FINALISTS[:1])
    assert len(set(orders)) == 2


def test_half_of_a_batch_of_one_picture_is_one_picture():
    halved = halve(make())
    assert [halved.training_batches({"batch_size": size}).batch_size for size in (8, 1)] == [4, 1]


def test_a_training_whose_minutes_are_over_and_whose_state_is_lost_trains_an_epoch(tmp_path):
    """Else it would keep the weights that it was built with."""
    train_finalist(make(), FINALISTS[0], 1, tmp_path, minutes=1.0)
    (tmp_path / "result.json").unlink()
    (tmp_path / "checkpoint.npz").write_bytes(b"damaged")
    pd.DataFrame({"execution": [0], "epoch": [1], "seconds": [120.0]}).to_csv(tmp_path / "history.csv")
    assert train_finalist(make(), FINALISTS[0], 1, tmp_path, minutes=1.0)["epochs"] >= 1


def test_the_finalists_seeds_are_none_of_the_searchs():
    """A trial's seed is the run's and its place; its lucky score would come again with it."""
    assert len(set(new_seeds(42, 3))) == 3 and not set(new_seeds(42, 3)) & set(range(42, 42 + 10_000))


def test_another_trainings_minutes_are_not_counted(trained, tmp_path):
    """A checkpoint lies there, of other hyperparameters: it is not gone on from, nor is its time spent."""
    place = tmp_path / "stale"
    training = make()
    place.mkdir()
    (place / "checkpoint.npz").write_bytes(b"of another one")
    pd.DataFrame({"epoch": [1], "seconds": [1e6]}).to_csv(place / "history.csv")
    assert train_finalist(training, FINALISTS[0], 1, place, minutes=5.0)["epochs"] == 3


def test_stopped_trainings_say_that_they_resume_and_not_where_in_keras_they_were(tmp_path, monkeypatch):
    stopped = KeyboardInterrupt("somewhere in Keras")
    monkeypatch.setattr(PictureTraining, "fit", lambda *parts, **more: (_ for _ in ()).throw(stopped))
    with pytest.raises(KeyboardInterrupt, match="run again, it resumes") as caught:
        train(tmp_path)
    assert caught.value.__suppress_context__


def test_a_training_that_fails_in_its_first_epoch_has_not_spent_another_ones_minutes(tmp_path, monkeypatch):
    """Its folder holds the history of other hyperparameters; the rest would be left with an epoch each."""
    place = tmp_path / "trial_4-seed_1"
    train_finalist(make(), {**FINALISTS[1], "trial": 4}, 1, place, math.inf)
    history = pd.read_csv(place / "history.csv")
    history.assign(seconds=1e6).to_csv(place / "history.csv", index=False)
    failed = FailedTrialError("the loss was nan in epoch 1")
    monkeypatch.setattr(PictureTraining, "fit", lambda *parts, **more: (_ for _ in ()).throw(failed))
    with pytest.raises(FailedTrialError):
        train_finalist(make(), FINALISTS[0], 1, place, minutes=5.0)
    assert read_json(place / "result.json")["seconds"] < 300


def test_a_trial_without_its_epochs_is_named_with_where_they_are(tmp_path):
    """Another machine that shares the storage alone was interrupted in it."""
    record = TrialRecord(5, {"units": 2}, "interrupted", 0.7, "", tmp_path / "trial_5")
    with pytest.raises(
        FileNotFoundError,
        match=r"trial_5/history\.csv is missing: another machine .* trial 5; copy its folder",
    ):
        candidates([record])


def test_patience_that_would_undo_the_averaging_of_weights_is_refused(tmp_path):
    training = make(patience=2)
    training.space = training.space._replace(settings=("steps", "weight_averaging"))
    training.settings["weight_averaging"] = 0.9
    with pytest.raises(ValueError, match="weight_averaging does not go with final_patience"):
        train_finalists(training, FINALISTS, [1], tmp_path, {})
    assert not list(tmp_path.iterdir())


def test_a_setting_that_a_space_does_not_take_is_no_reason_to_refuse(tmp_path):
    """`described` networks average no weights, whatever `weight_averaging` says."""
    training = make(patience=2)
    training.settings["weight_averaging"] = 0.9
    assert len(train_finalists(training, FINALISTS[:1], [1], tmp_path, {})) == 1


def test_a_moments_limit_is_not_the_same_as_none(tmp_path):
    for minutes in (0.002, 0.0):
        train_finalists(make(), FINALISTS[:1], [1], tmp_path, {}, minutes)
    assert len(list(tmp_path.glob("*/search.json"))) == 2


def test_the_same_seed_gives_the_same_network_and_another_another(trained, tmp_path):
    _, table = trained
    again = train(tmp_path, seeds=(2,))
    first = table[table["seed"] == 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), first.drop(columns="seconds"))
    losses = table.groupby("trial")["val_loss"].nunique()
    assert (losses == 2).all()


def test_a_loaded_network_predicts_what_its_table_says(trained):
    folder, table = trained
    row = table.iloc[1]
    network = load_network(make(), FINALISTS, row, folder)
    kept = pd.read_csv(folder / row["folder"] / "validation.csv")
    told = network.predict(serve("validation"), verbose=0).ravel()
    assert told == pytest.approx(kept["probability"].to_numpy(), abs=1e-6)
    of_label = np.where(kept["code"] == 1, kept["probability"], 1 - kept["probability"])
    losses = [row["val_loss"], row["val_log_loss"]]  # without penalties they are one
    assert losses == pytest.approx([-np.log(of_label).mean()] * 2, rel=1e-5)
    assert row["val_accuracy"] == (of_label > 0.5).mean()
    with_mirror = average_networks([network], mirrored=True).predict(serve("validation"), verbose=0).ravel()
    assert with_mirror == pytest.approx(kept["probability_with_mirror"].to_numpy(), abs=1e-6)
    assert np.abs(with_mirror - told).max() > 1e-4


def test_the_weights_that_are_kept_have_their_own_settled_statistics(tmp_path):
    """Those of the average over all steps, which no epoch's validation has seen."""

    def build_normalized(hp, image_size, steps) -> keras.Model:
        layers = [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(momentum=0.999),
        ]
        model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")])
        optimizer = keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=0.9)
        model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
        return model

    training = make()
    training.space = Space(build_normalized, as_settled, ("steps",), settles_normalization=True)
    row = train_finalists(training, FINALISTS[:1], [1], tmp_path, {}).iloc[0]
    network = load_network(training, FINALISTS, row, tmp_path)
    statistics = [keras.ops.convert_to_numpy(weight) for weight in network.non_trainable_weights[:2]]
    settle_normalization(network, training.untransformed())
    for kept, weight in zip(statistics, network.non_trainable_weights, strict=False):
        np.testing.assert_allclose(kept, keras.ops.convert_to_numpy(weight), rtol=1e-3)


@pytest.mark.parametrize(
    ("minutes", "seconds", "expected"),
    [(math.inf, 60, 50), (10, 60, 9), (10, 1, 50), (0.1, 60, 1)],  # a twentieth of the minutes is kept
)
def test_as_many_epochs_are_planned_as_fit(minutes, seconds, expected):
    candidate = {"seconds_an_epoch": 0.8 * seconds, "seconds_a_validation": 0.2 * seconds}
    assert planned_epochs(make(50), candidate, minutes) == expected
    quicker = {name: value / 2 for name, value in candidate.items()}
    assert planned_epochs(make(50), quicker, minutes, pace=2.0) == expected


def test_no_epochs_are_tried_one_by_one_where_the_most_are_many():
    candidate = {"seconds_an_epoch": 50.0, "seconds_a_validation": 10.0}
    assert planned_epochs(make(10**9), candidate, math.inf) == 10**9
    for training in (make(300), make(300, serve_augmented, first_image_size=4), make(300, validation_freq=4)):
        for minutes in (0.1, 3, 31.5, 200, 4000):
            seconds = 60 * minutes * (1 - RESERVE)
            fit = [n for n in range(1, 301) if expected_seconds(training, candidate, n) <= seconds]
            assert planned_epochs(training, candidate, minutes) == max(fit, default=1)


def test_epochs_without_a_validation_leave_room_for_more():
    candidate = {"seconds_an_epoch": 40.0, "seconds_a_validation": 20.0}
    assert planned_epochs(make(50), candidate, 10) == 9
    seldom = make(50, validation_freq=4)
    assert seldom.validated_epochs(12) == [1, 4, 8, 12] and expected_seconds(seldom, candidate, 12) == 560
    assert planned_epochs(seldom, candidate, 10) == 12  # 570 s; a thirteenth would be 40 s and a validation
    assert seldom.validated_epochs(11) == [1, 4, 8, 11] and seldom.validated_epochs(1) == [1]
    assert make(9, validation_freq=4, patience=2).validated_epochs(3) == [1, 2, 3], "patience looks at each"


def test_more_epochs_are_planned_where_pictures_are_small_at_first():
    # 12 epochs of 4 to 8 pixels: four of 4 x 4, which cost 0.25 + 0.75 / 4 of an epoch, and eight of 8 x 8.
    assert sum(relative_costs(growing_sizes(4, 8, 12))) == 4 * 0.4375 + 8
    growing = make(50, serve_augmented, first_image_size=4)
    assert sum(growing.epoch_costs(12)) == 9.75 and make(50).epoch_costs(12) == [1] * 12
    candidate = {"seconds_an_epoch": 60.0, "seconds_a_validation": 0.0}
    assert planned_epochs(make(50), candidate, 10) == 9
    assert planned_epochs(growing, candidate, 10) == 11  # 8.75 of the 9.5 whole ones that fit
    assert expected_seconds(growing, {**candidate, "seconds_a_validation": 5.0}, 12) == 9.75 * 60 + 12 * 5


def test_a_trial_that_leads_after_as_many_epochs_is_passed_over_where_it_gets_too_few_of_them():
    """In ten minutes 28 epochs of 20 s fit, 10 of 57 s, 7 of 80 s; 28 to 10 is worth a factor of 1.51."""
    trials = ((3, 80, 0.94), (2, 57, 0.93), (1, 20, 0.90))
    found = [
        {"trial": trial, "seconds_an_epoch": each - 5, "seconds_a_validation": 5, "score": score}
        for trial, each, score in trials
    ]

    def ranked(training, minutes):
        return [each["trial"] for each in rank_candidates(training, found, minutes)]

    assert ranked(make(100), 10) == [1, 3, 2]  # 0.10, 0.06 x 1.74 = 0.104, 0.07 x 1.51 = 0.106
    assert ranked(make(100), 0) == ranked(make(5), 10) == [3, 2, 1], "all get the epochs that were asked for"


@pytest.mark.parametrize(
    ("minutes", "most", "seeds", "wanted"),
    [
        (60, 200, 2, 1),  # 57 whole epochs of a minute, or twice 28: too few
        (160, 200, 2, 2),  # twice 76
        (150, 200, 2, 1),  # twice 71
        (160, 200, 3, 2),  # three times 50
        (60, 20, 2, 2),  # twice all that are asked for
        (30, 20, 2, 1),
        (0, 200, 2, 2),  # no limit
        (10, 200, 1, 1),
    ],
)
def test_a_second_training_is_begun_where_both_get_enough_epochs(minutes, most, seeds, wanted):
    found = [{"trial": 1, "score": 0.9, "seconds_an_epoch": 60.0, "seconds_a_validation": 0.0}]
    chosen, trainings = plan_finalists(make(most), found, 3, seeds, minutes)
    assert (chosen, trainings) == (found, wanted)


def test_finalists_are_ranked_by_the_minutes_that_each_of_their_trainings_gets():
    """In 95 minutes the slow one gets one training, of 90 epochs, in 190 minutes two."""
    quick = {"trial": 1, "score": 0.9, "seconds_an_epoch": 30.0, "seconds_a_validation": 0.0}
    slow = {**quick, "trial": 2, "score": 0.95, "seconds_an_epoch": 60.0}
    assert plan_finalists(make(500), [slow, quick], 1, 2, 95) == ([slow], 1)
    assert plan_finalists(make(500), [slow, quick], 1, 2, 190) == ([slow], 2)
    assert plan_finalists(make(500), [slow, quick], 2, 1, 95)[0] == [slow, quick]
    assert plan_finalists(make(500), [slow, quick], 2, 2, 200)[1] == 1, "twice 47 epochs of the slow one"
    losses = [{**slow, "score": 0.2}, {**quick, "score": 0.3}]  # as accuracies, the quick one would lead
    assert plan_finalists(make(500), losses, 1, 1, 40, "val_log_loss")[0] == losses[:1]


def test_of_a_loss_the_lowest_is_expected_to_end_lowest():
    found = [{"trial": 1, "score": 0.2, **SECONDS}, {"trial": 2, "score": 0.3, **SECONDS}]
    assert rank_candidates(make(100), found, 10, "val_loss") == found
    assert rank_candidates(make(100), found, 10, "val_auc") == found[::-1]


def test_the_minutes_are_shared_by_the_epochs_that_were_seen_in_the_search(tmp_path):
    # 1.2 s for the first of two; an epoch took a second, and a twentieth of the minutes is kept in reserve.
    table = train(tmp_path, minutes=0.04, seeds=(1,), epochs=50)
    # The second one is planned by how fast the first one was, which is the machine's affair.
    assert table["planned_epochs"].iloc[0] == table["epochs"].iloc[0] == 1


def test_the_next_training_is_planned_by_how_fast_the_one_before_really_was(tmp_path, monkeypatch):
    planned = []

    def pretend(training, candidate, seed, place, minutes, pace):
        planned.append((round(minutes, 6), pace))
        return {"seconds": 120.0, "epochs": 2, "trial": candidate["trial"]}

    monkeypatch.setattr("src.finalists.train_finalist", pretend)
    slow = [{**row, "seconds_an_epoch": 30.0, "seconds_a_validation": 10.0} for row in FINALISTS]
    train(tmp_path, minutes=10, seeds=(1,), finalists=slow)
    assert planned == [(5, 1.0), (8, 1.5)]  # two epochs took 120 s where 80 were expected


def test_as_many_minutes_for_each_training_are_the_same_trainings(tmp_path, monkeypatch):
    """One seed or finalist more, in more minutes, leaves those that are trained as they are."""

    def pretend(training, candidate, seed, place, minutes, pace):
        return {"seconds": 1.0, "epochs": 2, "folder": place.parent.name}

    monkeypatch.setattr("src.finalists.train_finalist", pretend)
    one = train(tmp_path, minutes=10, seeds=(1,), finalists=FINALISTS[:1])
    two = train(tmp_path, minutes=20, seeds=(1,))
    four, three = train(tmp_path, minutes=40, seeds=(1, 2)), train(tmp_path, minutes=20, seeds=(1, 2))
    assert set(one["folder"]) == set(two["folder"]) == set(four["folder"]) != set(three["folder"])


def test_epochs_are_only_skipped_where_a_learning_rate_has_to_decay(tmp_path, monkeypatch):
    """`described` has no schedule: it trains until its minutes are over."""
    watching, training = [], make()
    training.space = Space(lambda hp, image_size: build(hp, image_size, 9), training.space.choose_batches, ())

    def note(self, hp, model, epochs, callbacks):
        watching.append({type(each) for each in callbacks})
        raise FailedTrialError("noted")

    monkeypatch.setattr(PictureTraining, "fit", note)
    for each in (training, make()):
        with pytest.raises(FailedTrialError):
            train_finalist(each, FINALISTS[0], 1, tmp_path / str(len(watching)), minutes=5.0)
    assert [KeepPace in kinds for kinds in watching] == [False, True]
    assert all(Deadline in kinds for kinds in watching)


def test_the_learning_rate_falls_over_the_epochs_that_are_planned_not_over_the_most_allowed(tmp_path):
    """KerasTuner ties `build` to the object it was made with; the copy that is planned has its own epochs."""
    lasting = []

    def build_and_note(hp, image_size, steps):
        lasting.append(steps)
        return build(hp, image_size, steps)

    space = Space(build_and_note, lambda hp: {"batch_size": hp.Choice("batch_size", [4, 8])}, ("steps",))
    training = PictureTraining(space, {"image_size": 8}, serve, epochs=10)
    slow = {"seconds_an_epoch": 20 * 0.7, "seconds_a_validation": 20 * 0.3}
    table = train_finalists(training, [{**FINALISTS[0], **slow}], [1], tmp_path, {}, minutes=20 * 0.1)
    assert table["planned_epochs"].tolist() == [5]
    assert lasting == [5 * 4]  # batches of four of 16 pictures
    rates = pd.read_csv(next(tmp_path.glob("*/*/history.csv")))["learning_rate"]
    assert rates.iloc[0] > 0.008 and rates.iloc[-1] == pytest.approx(0, abs=1e-9)


def test_a_training_whose_epochs_last_longer_than_planned_ends_in_its_minutes(tmp_path, monkeypatch):
    fit = PictureTraining.fit

    def slow(self, hp, model, epochs, callbacks, **more):
        pause = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: time.sleep(0.3))
        return fit(self, hp, model, epochs, [pause, *callbacks], **more)

    monkeypatch.setattr(PictureTraining, "fit", slow)
    quick = [{**FINALISTS[0], "seconds_an_epoch": 0.01, "seconds_a_validation": 0.0}]
    row = train(tmp_path, minutes=0.02, seeds=(1,), epochs=50, finalists=quick).iloc[0]
    assert row["planned_epochs"] == 50
    assert 1 <= row["epochs"] <= 4  # of 0.3 s at least, in 1.2 s


def test_the_winner_is_chosen_on_the_mean_of_the_new_scores(tmp_path):
    trainings = pd.DataFrame(
        {
            "trial": [7, 7, 3, 3],
            "first_score": [0.95, 0.95, 0.9, 0.9],
            "val_accuracy": [0.96, 0.80, 0.90, 0.92],
            "folder": ["a", "b", "c", "d"],
        }
    )
    table = finalists_table(trainings)
    assert table["trial"].tolist() == [3, 7]
    assert table["val_accuracy_mean"].tolist() == pytest.approx([0.91, 0.88])
    assert table["difference"].tolist() == pytest.approx([0.01, -0.07])
    assert table[["val_accuracy_min", "val_accuracy_max", "seeds"]].to_numpy().tolist() == [
        [0.90, 0.92, 2],
        [0.80, 0.96, 2],
    ]
    by_loss = finalists_table(trainings.assign(val_log_loss=0.3), "val_log_loss")
    assert "difference" not in by_loss, "a loss is no accuracy"
    tied = finalists_table(trainings.assign(val_accuracy=0.9))
    assert tied["trial"].tolist() == [7, 3], "as the search had them"
    assert choose_members(trainings, "none", tmp_path)["folder"].tolist() == ["c"]
    assert choose_members(trainings, "seeds", tmp_path)["folder"].tolist() == ["c", "d"]
    with pytest.raises(ValueError, match="average is 'all'"):
        choose_members(trainings, "all", tmp_path)


def test_the_winner_is_told_by_the_searchs_own_objective(tmp_path):
    rows = {"trial": [7, 3], "first_score": [0.2, 0.3], "val_accuracy": [0.96, 0.9], "folder": ["a", "b"]}
    trainings = pd.DataFrame({**rows, "val_loss": [0.5, 0.4], "val_log_loss": [0.3, 0.2]})
    for objective, winner in (("val_accuracy", 7), ("val_loss", 3), ("val_log_loss", 3)):
        table = finalists_table(trainings, objective)
        assert table["trial"].iloc[0] == winner
        assert choose_members(trainings, "none", tmp_path, objective)["trial"].tolist() == [winner]
    assert table["val_log_loss_mean"].tolist() == [0.2, 0.3]


def leave_validation(folder: Path, codes, told: dict[str, list[float]], **columns) -> None:
    """Writes what each network, by its folder's name, has told of the validation pictures."""
    for name, probability in told.items():
        (folder / name).mkdir()
        table = pd.DataFrame({"code": codes, "probability": probability, **columns})
        table.insert(0, "image_name", [f"{number}.jpg" for number in range(len(table))])
        table.to_csv(folder / name / "validation.csv", index=False)


def test_a_training_that_ended_at_chance_is_not_averaged_in(tmp_path):
    """Codes 1, 0, 1, 0; the third network is sure that all are 1, which would decide every mean."""
    told = {"a": [0.9, 0.45, 0.4, 0.4], "b": [0.4, 0.4, 0.8, 0.45], "c": [1.0, 1.0, 1.0, 1.0]}
    leave_validation(tmp_path, [1, 0, 1, 0], told)
    trainings = pd.DataFrame(
        {"trial": [5, 3, 1], "first_score": 0.9, "val_accuracy": [0.5, 0.75, 0.75], "folder": ["c", "a", "b"]}
    )
    assert choose_members(trainings, "finalists", tmp_path)["folder"].tolist() == ["a", "b"]
    leave_validation(tmp_path, [1, 0, 1, 0], {"twin of b": told["b"]})
    twins = pd.concat([trainings.tail(1), trainings.tail(1).assign(folder="twin of b")])
    assert len(choose_members(twins, "finalists", tmp_path)) == 2, "it makes the average no worse"


def test_one_picture_more_or_less_does_not_decide_what_is_averaged(tmp_path):
    """Each network makes one mistake and is sure of it; their mean makes both and is sure of neither."""
    leave_validation(tmp_path, 1, {"a": [0.9] * 18 + [0.02, 0.9], "b": [0.9] * 18 + [0.9, 0.02]})
    trainings = pd.DataFrame(
        {"trial": [1, 1], "first_score": 0.9, "val_accuracy": [0.95, 0.95], "folder": ["a", "b"]}
    )
    assert choose_members(trainings, "finalists", tmp_path)["folder"].tolist() == ["a", "b"]


def test_a_modest_network_that_is_nearly_always_right_is_judged_at_its_best_temperature(tmp_path):
    """Trained with label smoothing it says 0.6 and is right on 98 of 100; the other says 0.8, right on 80."""
    modest, bold = [0.6] * 98 + [0.4] * 2, [0.2] * 20 + [0.8] * 80
    leave_validation(tmp_path, 1, {"modest": modest * 2, "bold": bold * 2})
    rows = {"trial": [1, 2], "first_score": 0.9, "val_accuracy": [0.98, 0.8], "folder": ["modest", "bold"]}
    members = choose_members(pd.DataFrame(rows), "finalists", tmp_path)
    assert members["folder"].tolist() == ["modest"], "their mean would be wrong where the bold one is"


def test_what_averaging_gains_is_counted_on_the_mean_probability(tmp_path):
    """Of four pictures network a is right on three, b on two, their mean on all four; and that ten times."""
    told = {"a": [0.9, 0.4, 0.2, 0.1] * 10, "b": [0.3, 0.9, 0.7, 0.2] * 10}
    leave_validation(tmp_path, [1, 1, 0, 0] * 10, told, probability_with_mirror=0.9)
    trainings = pd.DataFrame(
        {"trial": [1, 2], "first_score": 0.5, "val_accuracy": [0.75, 0.5], "folder": ["a", "b"]}
    )
    gains = averaging_gains(trainings, tmp_path).set_index("prediction")
    assert gains.loc["winner, one network", "as_it_is"] == 0.75
    assert gains.loc["helpful finalists averaged", "as_it_is"] == 1
    assert gains.loc["helpful finalists averaged", "as_it_is_gain"] == 25
    assert gains.loc["helpful finalists averaged", "with_mirror_view_gain"] == pytest.approx(-25)
    by_loss = averaging_gains(trainings.assign(val_log_loss=[0.7, 0.6]), tmp_path, "val_log_loss")
    assert by_loss["as_it_is"].iloc[0] == 0.5, "of the winner by the search's own objective"
    gains = averaging_gains(trainings.assign(trial=1), tmp_path)  # both are seeds of one finalist
    assert gains["networks"].tolist() == [1, 2, 2] and gains["as_it_is"].tolist() == [0.625, 1, 1]
    assert gains["as_it_is_gain"].tolist() == [0, 37.5, 37.5]
    features = pd.DataFrame({"image_name": [f"{n}.jpg" for n in range(40)], "group": range(40)})
    both = average_predictions(trainings, False, tmp_path, features)
    assert both["probability"].tolist() == pytest.approx([0.6, 0.65, 0.45, 0.15] * 10)
    assert both["correct"].all() and both["group"].tolist() == list(range(40))
    assert average_predictions(trainings.tail(1), False, tmp_path, features)["correct"].mean() == 0.5
    assert average_predictions(trainings, True, tmp_path, features)["correct"].mean() == 0.5


def test_candidates_know_how_long_an_epoch_took(tmp_path):
    # The last third of each execution: 3 s of the first, 3 s and 8 s of the other.
    rows = {
        "execution": [0] * 3 + [1] * 6,
        "epoch": [1, 2, 3, 1, 2, 3, 4, 5, 6],
        "seconds": [9, 16, 19, 5, 6, 7, 8, 11, 19],
        "validation_seconds": [3, 1, 1, 1, 1, 1, 0.5, 1, 2],
    }
    pd.DataFrame(rows).to_csv(tmp_path / "history.csv", index=False)
    record = TrialRecord(5, {"units": 2}, "completed", 0.7, "", tmp_path)
    assert candidates([record]) == [
        {
            "trial": 5,
            "hyperparameters": {"units": 2},
            "score": 0.7,
            "seconds_an_epoch": 2.0,
            "seconds_a_validation": 1.0,
        }
    ]


def test_pictures_grow_to_their_full_size_in_two_thirds_of_the_epochs():
    sizes = growing_sizes(64, 96, 9)
    assert sizes == [64, 64, 80, 80, 96, 96, 96, 96, 96]
    assert growing_sizes(64, 90, 3) == [64, 80, 90] and growing_sizes(64, 90, 2) == [64, 90]
    assert relative_costs([32, 64]) == [0.25 + 0.75 / 4, 1]
    assert growing_sizes(48, 48, 2) == [48, 48]
    with pytest.raises(ValueError, match="first_image_size is 99; give at most image_size, 64"):
        growing_sizes(99, 64, 3)


def test_pictures_grow_as_long_as_four_of_five_crops_are_shrunk():
    assert grown_size(128, 0.3) == 96 and grown_size(160, 0.3) == 120
    assert grown_size(90, 0.0) == 90

    def serve_crops(part, training=False, **choices):
        batches = serve(part, training, **choices)
        batches.pixels = np.zeros((24, 64, 64, 3), "uint8")
        batches.augmentation = Augmentation(crop_range=0.3)
        return batches

    for first, sizes in ((16, [16, 32, 48]), (48, [48]), (56, [56]), (64, [64])):
        training = make(9, serve_crops, first_image_size=first)
        assert sorted(set(training.training_batches({}).picture_sizes)) == sizes
    with pytest.raises(ValueError, match="first_image_size is 65; give at most image_size, 64"):
        make(9, serve_crops, first_image_size=65).training_batches({})


def test_each_picture_size_is_one_span_of_epochs():
    sizes = [8, 8, 16]
    assert spans(sizes, 0, 6) == [(0, 2), (2, 6)]
    assert spans(sizes, 1, 6) == [(1, 2), (2, 6)]
    assert spans(sizes, 4, 6) == [(4, 6)]
    assert spans([8], 0, 3) == [(0, 3)]
    assert spans(sizes, 0, 2) == [(0, 2)]


def test_a_training_grows_its_pictures_and_counts_its_epochs_through(tmp_path):
    def build_any(hp, steps, image_size=None) -> keras.Model:
        layers = [keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]
        model = keras.Sequential([*layers, keras.layers.Dense(1, "sigmoid")])
        model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
        return model

    space = Space(build_any, lambda hp: {}, ("steps",))
    training = PictureTraining(space, {}, serve_augmented, 3, patience=9)
    training.first_image_size = 4
    sizes = []
    watch = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: sizes.append("begins"))
    history = training.fit(
        fixed({}), training.build(fixed({})), 3, [HistoryFile(tmp_path / "history.csv"), watch]
    )
    assert growing_sizes(4, 8, 3) == [4, 8, 8]
    assert len(sizes) == 2
    assert history.epoch == [0, 1, 2] and len(history.history["val_loss"]) == 3
    kept = pd.read_csv(tmp_path / "history.csv")
    assert kept["epoch"].tolist() == [1, 2, 3] and (kept["execution"] == 0).all()
    assert kept["seconds"].is_monotonic_increasing


def test_an_unknown_space_is_named(tmp_path):
    with pytest.raises(
        ValueError, match="space 'huge' is unknown; choose one of published, described, modern"
    ):
        make_training(tmp_path, "huge", 3)


@pytest.mark.parametrize(("space", "side"), [("modern", None), ("described", 24), ("published", 24)])
def test_pictures_grow_for_a_network_that_takes_any_size_alone(space, side, tmp_path, monkeypatch):
    monkeypatch.setattr(src.training, "read_input", lambda run: {"image_size": 24, "first_image_size": 16})
    made = make_training(tmp_path, space, 3, validation_freq=2, steps=4, learning_rate=0.01)
    assert made.first_image_size == (0 if side else 16) and made.validation_freq == 2
    taken = {
        name: made.settings[name] for name in made.settings if name in ("image_size", *made.space.settings)
    }
    network = made.space.build(HyperParameters(), **taken)
    assert network.input_shape == (None, side, side, 3)
