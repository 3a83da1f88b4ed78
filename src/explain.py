"""What a network looked at: Grad-CAM for any of our networks, with TensorFlow, JAX or PyTorch.

The method is R. R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
localization", ICCV 2017: the channels of the last feature map are weighted by the mean gradient of the
class's score and summed; negative values are set to zero.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
from keras import ops

from src.evaluation import confident_mistakes
from src.generators import PictureBatches
from src.images.preprocessing import preprocess
from src.networks.probability import log_odds
from src.results.opening import load_classifier

LIFT = 256.0  # keeps small gradients of 16-bit networks from underflowing; maps are rescaled in the end


def explain_predictions(
    model_file: Path, batches: PictureBatches, chosen: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pictures as cached (RGB, uint8), and the `class_maps` of their predicted classes.

    Args:
        model_file: the saved `.keras` model.
        batches: the part of the data set that contains the pictures.
        chosen: image_name and predicted code of the pictures.

    Raises:
        ValueError: the file is not a model of ours; also see `class_maps`.
    """
    row = dict(zip(batches.image_names, batches.rows, strict=True))
    pictures = batches.pixels[[row[name] for name in chosen["image_name"]]]
    network = load_classifier(model_file, batches.pixels.shape[1])
    return pictures, class_maps(network, preprocess(pictures), chosen["predicted"])


def class_maps(network: keras.Model, pictures: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Returns how strongly each place of a picture speaks for its class: float32, 0 to 1, (n, height, width).

    A map's maximum is 1; a map of zeros means that nothing was found that speaks for the class. For an
    averaged network it is the rescaled mean of the members' maps, on the unmirrored view.

    Args:
        network: has one output, the probability of class 1; a graph of layers, possibly with nested models.
        pictures: as the network takes them, shape (n, height, width, 3).
        codes: the class to explain for each picture, 0 or 1; usually the predicted one.

    Raises:
        ValueError: the network has no single last feature map, or the backend has no gradients.
    """
    if not len(pictures):
        return np.zeros(pictures.shape[:3], "float32")
    signs = np.where(np.asarray(codes) == 1, LIFT, -LIFT)
    each = [_member_maps(member, pictures, signs) for member in _members(network)]
    return _scale(np.mean(each, axis=0))


def right_and_wrong(predictions: pd.DataFrame, number: int, seed: int) -> pd.DataFrame:
    """Returns predictions to explain: `number` random correct ones, then the most confident mistakes.

    Args:
        predictions: from `evaluation.predict_table`.
        number: how many of each kind, or fewer if there are not that many.
        seed: of the draw. The most confident correct ones would only show the easiest pictures.
    """
    right, wrong = predictions[predictions["correct"]], confident_mistakes(predictions, number)
    return pd.concat([right.sample(min(number, len(right)), random_state=seed), wrong[predictions.columns]])


def _member_maps(network: keras.Model, pictures: np.ndarray, signs: np.ndarray) -> np.ndarray:
    to_map, to_score = _split(network)
    sign = ops.convert_to_tensor(signs, dtype="float32")
    features = to_map(ops.convert_to_tensor(pictures, dtype="float32"))
    # At inference pictures do not interact, so the gradient of the sum contains each picture's own.
    gradient = _gradient(lambda value: ops.sum(to_score(value)[:, 0] * sign), features)
    gradient, features = (ops.convert_to_numpy(ops.cast(value, "float32")) for value in (gradient, features))
    coarse = np.maximum((gradient.mean(axis=(1, 2), keepdims=True) * features).sum(axis=-1), 0)
    return _scale(np.stack([cv2.resize(one, pictures.shape[2:0:-1]) for one in coarse]))  # width, height


def _scale(maps: np.ndarray) -> np.ndarray:
    highest = maps.max(axis=(1, 2), keepdims=True)
    return (maps / np.where(highest > 0, highest, 1)).astype("float32")


def _gradient(function: Callable, value):
    """Returns the gradient of a scalar function at a tensor, for which Keras has no backend-neutral call.

    Raises:
        ValueError: the backend has no gradients.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow

        with tensorflow.GradientTape() as tape:
            tape.watch(value)
            result = function(value)
        return tape.gradient(result, value)
    if backend == "jax":
        import jax

        return jax.grad(function)(value)
    if backend == "torch":
        import torch

        with torch.enable_grad():
            value = value.detach().requires_grad_()
            return torch.autograd.grad(function(value), value)[0]
    raise ValueError(f"Grad-CAM needs gradients, which {backend} lacks; use tensorflow, jax or torch")


# ---- The graph: Keras exposes its tensors and operations, but their connections only as private attributes.


def _members(network: keras.Model) -> list[keras.Model]:
    """Returns the averaged nested networks that take the plain picture, or else the network itself."""
    ends = _last_maps(network.outputs[0])
    whole = [isinstance(step, keras.Model) and step.output_shape == (None, 1) for step, _, _ in ends]
    plain = [step for step, taken, _ in ends if taken is network.inputs[0]]
    return plain if plain and all(whole) else [network]


def _split(network: keras.Model) -> tuple[Callable, Callable]:
    """Returns two functions: from pictures to the last feature map, from there to the log odds of class 1.

    Log odds rather than the probability, whose gradient vanishes once it has rounded to 1.0.
    """
    picture, output = network.inputs[0], network.outputs[0]
    operation, taken = _origin(output)
    if isinstance(operation, keras.Model) and _is_map(taken[0]):  # the whole network, after some preparation
        (to_map, to_score), prepare = _split(operation), _path(picture, taken[0])
        return (lambda value: to_map(prepare(value))), to_score
    if isinstance(operation, keras.Model):  # a head on pooled features
        given, (operation, hidden) = operation.inputs[0], _origin(operation.outputs[0])
        taken = [_path(given, hidden[0])(taken[0])]
    if isinstance(operation, keras.layers.Dense) and operation.activation is keras.activations.sigmoid:
        to_map, to_hidden = _split_at(picture, taken[0])
        kernel = operation.kernel  # the bias shifts the score, not its gradient
        return to_map, lambda value: ops.matmul(ops.cast(to_hidden(value), "float32"), kernel)
    to_map, to_output = _split_at(picture, output)
    return to_map, lambda value: log_odds(to_output(value))


def _split_at(picture, output) -> tuple[Callable, Callable]:
    """Returns two functions: from pictures to the last feature map, and from there to `output`."""
    ends = _last_maps(output)
    if len({id(taken) for _, taken, _ in ends}) != 1:
        raise ValueError(
            f"the network has {len(ends)} last feature maps; Grad-CAM needs one that all of it goes through"
        )
    operation, taken, given = ends[0]
    if len(ends) == 1 and isinstance(operation, keras.Model):  # the map is inside
        to_map, to_given = _split_at(operation.inputs[0], operation.outputs[0])
        before, after = _path(picture, taken), _path(given, output)
        return (lambda value: to_map(before(value))), (lambda value: after(to_given(value)))
    return _path(picture, taken), _path(taken, output)


def _last_maps(output) -> list[tuple]:
    """Returns each step from a feature map to a vector on the way to `output`: operation, map, result."""
    steps, waiting, seen = [], [output], set()
    while waiting:
        tensor = waiting.pop(0)
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation, taken = _origin(tensor)
        steps += [(operation, one, tensor) for one in taken if _is_map(one)]
        waiting += [one for one in taken if not _is_map(one)]
    return steps


def _origin(tensor) -> tuple:
    """Returns the operation that produced a tensor of the graph, and the operation's input tensors."""
    operation, node, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node].input_tensors


def _is_map(tensor) -> bool:
    return len(tensor.shape) == 4 and tuple(tensor.shape[1:3]) != (1, 1)


def _path(start, end) -> Callable:
    # A Model, because Keras 3.13's Function cannot start in the middle of a graph.
    return (lambda value: value) if start is end else keras.Model(start, end)
