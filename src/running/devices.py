"""What Keras's backend computes on, and which precision is fastest there."""

import os
from pathlib import Path

import keras

from src.running.resources import count_gpus


def fastest_precision(accelerator: bool) -> str:
    """Returns the precision policy that is fastest on this device without harming training.

    16 bits on an accelerator (mixed_float16, with Keras's loss scaling; mixed_bfloat16 on a TPU) and, with
    TensorFlow, on a CPU that multiplies bfloat16 in hardware (the other backends' CPU kernels are slower with
    it); otherwise float32.
    """
    if accelerator:
        return "mixed_bfloat16" if any(name.startswith("tpu") for name in _listed()) else "mixed_float16"
    information = Path("/proc/cpuinfo")
    flags = information.read_text() if information.exists() else ""
    has_bfloat16 = "avx512_bf16" in flags or "amx_bf16" in flags
    return "mixed_bfloat16" if has_bfloat16 and keras.backend.backend() == "tensorflow" else "float32"


def has_accelerator() -> bool:
    """Returns whether Keras's backend sees a GPU or a TPU."""
    if keras.backend.backend() == "torch":  # Keras lists no devices for it
        import torch

        return torch.cuda.is_available() or torch.backends.mps.is_available()
    return any(not name.startswith("cpu") for name in _listed())


def without_xla(network: keras.Model) -> keras.Model:
    """Returns the network, which TensorFlow then runs kernel by kernel; on other backends it stays as it is.

    On a GPU Keras turns on XLA, which compiles anew for each network and each shape of its batches: growing
    pictures, a smaller last batch, validation. That is over ten programs a trial, and a trial is short.
    """
    if keras.backend.backend() == "tensorflow":
        network.jit_compile = False
    return network


def release(network: keras.Model) -> None:
    """Frees the memory of a compiled network's weights and its optimizer's state; neither can be used again.

    TensorFlow never frees the graph of a training, which keeps the variables (keras-team/keras, issue 17458):
    320 MB a trial at the published size. So they are emptied. Other backends need none of this.
    """
    if keras.backend.backend() != "tensorflow":
        return
    from tensorflow import raw_ops, zeros

    for variable in [*network.variables, *network.optimizer.variables]:
        if keras.backend.is_float_dtype(variable.dtype):
            nothing = zeros([0], variable.dtype)
            raw_ops.AssignVariableOp(resource=variable.value.handle, value=nothing, validate_shape=False)


def idle_gpus(accelerator: bool) -> str:
    """Returns a sentence about GPUs that are present but unused, "" if there are none.

    It is also "" if CUDA_VISIBLE_DEVICES is set: GPUs have then been chosen. `accelerator` says whether
    Keras's backend sees one.
    """
    number = 0 if "CUDA_VISIBLE_DEVICES" in os.environ else count_gpus()
    if number and not accelerator:
        return (
            f"this machine lists {number} GPU(s), {keras.backend.backend()} sees none and computes on the "
            "CPU: install it with CUDA (`make run GPU=1`), or look at its lines on standard error"
        )
    if number > 1:
        return f"1 of {number} GPUs is used; several processes can search together, one a GPU: see README"
    return ""


def _listed() -> list[str]:
    return [] if keras.backend.backend() == "torch" else [*map(str.lower, keras.distribution.list_devices())]
