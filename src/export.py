"""Exports a saved network to a file that runs without Keras: `python -m src.export MODEL --format onnx`.

Keras writes the file (`model.export`); it is compared with the network before it gets its final name. It
takes square pictures preprocessed by `src.images.preprocessing`; the network's JSON describes the file, too.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import keras
import numpy as np

from src.images.preprocessing import preprocess
from src.networks.saved_model import SavedModel, load_saved_model
from src.running.messages import one_line
from src.running.writing import replacing

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4  # between the probabilities of the network and of the file


class Format(NamedTuple):
    """An export format."""

    suffix: str
    run: Callable[[Path, np.ndarray], np.ndarray]  # returns the file's predictions for a batch of pictures
    packages: str  # pip packages for writing and running it


def run_onnx(path: Path, pictures: np.ndarray) -> np.ndarray:
    """Returns the probabilities predicted by an ONNX file, shape (n, 1)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: pictures})[0]


def run_litert(path: Path, pictures: np.ndarray) -> np.ndarray:
    """Returns the probabilities predicted by a LiteRT file, shape (n, 1)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, pictures.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, pictures)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


FORMATS = {
    "onnx": Format(".onnx", run_onnx, "tf2onnx onnxruntime"),
    "litert": Format(".tflite", run_litert, "ai-edge-litert"),
}


def export_model(model_file: Path, kind: str) -> tuple[Path, float | None]:
    """Returns the file, saved beside the network, and how far its probabilities are from the network's.

    The file takes any number of square pictures of the network's size and gives a probability for each. The
    distance is the largest over 40 pictures of coloured blots, fine and coarse, because a network may predict
    the same for all noise; it is None if the package that runs such a file is not installed.

    Args:
        model_file: the saved `.keras` network, with its JSON.
        kind: onnx or litert.

    Raises:
        FileNotFoundError: see `load_saved_model`.
        ValueError: an unknown format, one that Keras cannot write here, or a file whose predictions differ
            from the network's; also see `load_saved_model`.
    """
    if kind not in FORMATS:
        raise ValueError(f"format is {kind!r}; choose one of {', '.join(FORMATS)}")
    saved = load_saved_model(model_file)
    path = model_file.with_suffix(FORMATS[kind].suffix)
    with replacing(path, f"{path.stem}.{os.getpid()}.partial{path.suffix}") as partial:
        _write(saved, partial, kind)
        distance = _compare(saved, partial, kind)
    return path, distance


def _write(saved: SavedModel, path: Path, kind: str) -> None:
    shape = (None, saved.image_size, saved.image_size, 3)
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="pictures")]
    try:
        saved.network.export(str(path), format=kind, input_signature=signature, verbose=False)
    except Exception as error:  # from Keras, its backend or the converter
        backend = keras.backend.backend()
        other = "" if backend == "tensorflow" else ", and set KERAS_BACKEND=tensorflow"
        raise ValueError(
            f"{kind} cannot be written with {backend}: {one_line(error, 300)}; "
            f"pip install {FORMATS[kind].packages}{other}"
        ) from error


def _compare(saved: SavedModel, path: Path, kind: str) -> float | None:
    """Returns the largest distance between the probabilities of file and network, None without a runtime."""
    random = np.random.default_rng(0)
    size = (saved.image_size, saved.image_size)
    blots = [random.integers(0, 256, (side, side, 3), "uint8") for side in (1, 2, 4, 8, 16) for _ in range(8)]
    pictures = preprocess(np.stack([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in blots]))
    try:
        found = FORMATS[kind].run(path, pictures)
    except ImportError:
        return None
    except Exception as error:  # from the runtime
        remedy = "; try --format litert" if kind == "onnx" else ""
        reason = f"the {kind} file does not run, and is not kept: {one_line(error, 300)}{remedy}"
        raise ValueError(reason) from error
    distance = float(np.abs(found - saved.network.predict_on_batch(pictures)).max())
    if not distance <= TOLERANCE:  # also catches NaN
        raise ValueError(
            f"the {kind} file's probabilities are {distance:.2g} from the network's; it is not kept"
        )
    return distance


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code of `python -m src.export`."""
    parser = argparse.ArgumentParser(prog="python -m src.export", description=__doc__)
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .keras file with its .json beside it")
    parser.add_argument("--format", choices=FORMATS, default="onnx")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO, force=True)
    for talkative in ("tf2onnx", "absl", "tensorflow"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    try:
        path, distance = export_model(chosen.model, chosen.format)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{one_line(error)}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    compared = f"not compared with the network: pip install {FORMATS[chosen.format].packages}"
    if distance is not None:
        compared = f"at most {distance:.1e} from the network's probabilities"
    logger.info("%s: %.1f MB, %s", path, path.stat().st_size / 1e6, compared)
    return 0


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # compare on the CPU: GPUs multiply less precisely
    sys.exit(main())
