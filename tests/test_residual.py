"""The residual CNN: its shapes by hand, its schedule, and that Muon steps are what they claim."""

import keras
import numpy as np
import pytest

from src.networks.optimizers import ConvolutionMuon
from src.networks.residual import build_residual_cnn
from src.networks.schedule import Trapezoid

pytestmark = pytest.mark.long


def convolution(kernel: int, inputs: int, filters: int) -> int:
    """Weights without bias, and four numbers a filter for the normalization."""
    return kernel * kernel * inputs * filters + 4 * filters


def test_its_parameters_are_those_counted_by_hand():
    model = build_residual_cnn(width=8, stages=3, blocks=2, stem_kernel=5)
    expected = convolution(5, 3, 8)
    for inputs, filters in ((8, 8), (8, 16), (16, 32)):
        expected += convolution(3, inputs, filters) + 3 * convolution(3, filters, filters)
        expected += convolution(1, inputs, filters) if inputs != filters else 0
    assert model.count_params() == expected + 32 + 1


def test_stem_and_each_later_stage_halve_the_picture():
    model = build_residual_cnn(64, width=8)
    sizes = [model.get_layer(f"stage_{stage}_block_1_add").output.shape[1] for stage in (1, 2, 3, 4)]
    assert sizes == [32, 16, 8, 4]


def test_filters_double_up_to_eight_times_the_width():
    model = build_residual_cnn(128, width=8, stages=6)
    filters = [model.get_layer(f"stage_{stage}_block_1_add").output.shape[-1] for stage in range(1, 7)]
    assert filters == [8, 16, 32, 64, 64, 64]


def test_one_network_takes_pictures_of_any_size():
    model = build_residual_cnn(width=8, stages=2)
    for size in (24, 40):
        assert model.predict(np.zeros((2, size, size, 3)), verbose=0).shape == (2, 1)


def test_the_learning_rate_rises_to_its_peak_stays_and_falls_to_nothing():
    model = build_residual_cnn(
        width=8, stages=1, steps=100, warmup=0.2, cooldown=0.4, learning_rate=1e-2, optimizer="adamw"
    )
    rate = [float(model.optimizer._learning_rate(step)) for step in range(121)]
    assert rate[:21] == pytest.approx(list(np.linspace(1e-2 / 25, 1e-2, 21)))
    assert rate[20:61] == pytest.approx([1e-2] * 41)
    assert rate[60:101] == pytest.approx(list(np.linspace(1e-2, 0, 41)), abs=1e-8)
    assert rate[101:] == [0.0] * 20
    same = keras.optimizers.get(keras.optimizers.serialize(model.optimizer))._learning_rate
    assert [float(same(step)) for step in range(101)] == rate[:101]


def test_a_plan_of_the_learning_rate_that_is_no_plan_is_refused():
    with pytest.raises(
        ValueError, match=r"warmup 0\.6 and cooldown 0\.5: give fractions, together at most 1"
    ):
        build_residual_cnn(warmup=0.6)
    with pytest.raises(ValueError, match=r"warmup 0\.1 and cooldown -0\.5"):
        Trapezoid(1e-2, 100, 0.1, -0.5)
    for warmup, cooldown in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.1, 0.9)):
        build_residual_cnn(width=8, stages=1, warmup=warmup, cooldown=cooldown)


@pytest.mark.parametrize(("setting", "value"), [("pooling", "sum"), ("optimizer", "lion")])
def test_an_unknown_word_is_named(setting, value):
    with pytest.raises(ValueError, match=f"{setting} '{value}' is unknown; choose one of"):
        build_residual_cnn(**{setting: value})


def test_a_muon_step_of_a_kernel_is_nearly_orthogonal():
    """Its singular values are about 1 times the scale of Moonlight: 0.2 * sqrt(largest side) * rate."""
    kernel = keras.Variable(np.zeros((3, 3, 4, 16), "float32"), name="kernel")
    optimizer = ConvolutionMuon(learning_rate=0.1, weight_decay=None)
    optimizer.build([kernel])
    gradient = np.random.default_rng(0).normal(size=(3, 3, 4, 16)).astype("float32")
    optimizer.apply([gradient], [kernel])
    step = np.asarray(keras.ops.convert_to_numpy(kernel)).reshape(36, 16)
    values = np.linalg.svd(step / (0.2 * 6 * 0.1), compute_uv=False)
    assert values.min() > 0.6 and values.max() < 1.3  # Newton-Schulz of five steps is near 1, not at it
    assert np.vdot(step, gradient.reshape(36, 16)) < 0  # downhill


def test_muon_steps_follow_the_nesterov_momentum_of_all_gradients_so_far():
    """Of m = 0.95 m + gradient the step's direction is gradient + 0.95 m, made orthogonal."""
    kernel = keras.Variable(np.zeros((3, 3, 4, 16), "float32"), name="kernel")
    optimizer = ConvolutionMuon(learning_rate=0.1, weight_decay=None)
    optimizer.build([kernel])
    gradients = np.random.default_rng(1).normal(size=(3, 36, 16)).astype("float32")
    momentum, expected = np.zeros((36, 16), "float32"), np.zeros((36, 16), "float32")
    for gradient in gradients:
        optimizer.apply([gradient.reshape(3, 3, 4, 16)], [kernel])
        momentum = 0.95 * momentum + gradient
        direction = keras.ops.convert_to_tensor(gradient + 0.95 * momentum)
        step = keras.optimizers.Muon.zeropower_via_newtonschulz5(optimizer, direction, 5)
        expected -= 0.1 * 0.2 * np.sqrt(36) * keras.ops.convert_to_numpy(step)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel).reshape(36, 16), expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_kernels_alone_decay_and_weights_are_averaged_where_asked_for(kind):
    settings = {"width": 8, "stages": 1, "optimizer": kind, "weight_decay": 0.3}
    network = build_residual_cnn(**settings, weight_averaging=0.9)
    optimizer = network.optimizer
    assert optimizer.use_ema and optimizer.ema_momentum == 0.9
    assert not build_residual_cnn(**settings).optimizer.use_ema
    assert optimizer.weight_decay == 0.3 == getattr(optimizer, "adam_weight_decay", 0.3)
    for variable in network.trainable_variables:
        assert optimizer._use_weight_decay(variable) == (variable.name == "kernel"), variable.path


@pytest.mark.parametrize("shape", [(36, 16), (16, 36), (288, 32), (20, 16)])
def test_the_short_way_to_an_orthogonal_matrix_ends_where_kerass_own_does(shape, monkeypatch):
    """Also where the singular values span four powers of ten. It is not taken on an accelerator."""
    left, _, right = np.linalg.svd(np.random.default_rng(0).normal(size=shape), full_matrices=False)
    matrix = keras.ops.convert_to_tensor(
        ((left * np.geomspace(1, 1e-4, min(shape))) @ right).astype("float32")
    )
    optimizer = ConvolutionMuon()
    ours = optimizer.zeropower_via_newtonschulz5(matrix, 5)
    theirs = keras.optimizers.Muon.zeropower_via_newtonschulz5(optimizer, matrix, 5)
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (ours, theirs)), atol=1e-3)
    assert np.linalg.norm(keras.ops.convert_to_numpy(ours)) > 1  # both are no zeros
    monkeypatch.setattr("src.networks.optimizers.has_accelerator", lambda: True)
    ours = optimizer.zeropower_via_newtonschulz5(matrix, 5)
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (ours, theirs)))


def test_muon_leaves_all_but_kernels_to_adamw():
    optimizer = ConvolutionMuon()
    shapes = {(3, 3, 4, 8): False, (8,): True, (8, 1): True}
    for shape, adamw in shapes.items():
        assert optimizer._should_use_adamw(keras.Variable(np.zeros(shape))) is adamw


def test_its_log_loss_knows_nothing_of_label_smoothing():
    network = build_residual_cnn(8, width=8, stages=1, label_smoothing=0.4)
    network.get_layer("probability").bias.assign([2.0])  # sure of one class
    pictures, codes = np.random.default_rng(0).random((6, 8, 8, 3), "float32"), np.array([1, 1, 1, 1, 1, 0])
    measured = network.evaluate(pictures, codes, return_dict=True, verbose=0)
    sure = network.predict(pictures, verbose=0)[:, 0]
    right = np.where(codes == 1, sure, 1 - sure)
    assert measured["log_loss"] == pytest.approx(-np.log(right).mean(), rel=1e-4)
    assert abs(measured["loss"] - measured["log_loss"]) > 1e-3


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_it_learns_to_tell_bright_from_dark(optimizer):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    codes = np.arange(64) % 2
    pictures = random.normal(0, 20, (64, 16, 16, 3)) + 40 * codes[:, None, None, None]
    model = build_residual_cnn(16, steps=24, width=8, stages=2, optimizer=optimizer, learning_rate=1e-2)
    model.fit(pictures, codes, batch_size=16, epochs=6, verbose=0)
    assert model.evaluate(pictures, codes, verbose=0, return_dict=True)["accuracy"] > 0.9
