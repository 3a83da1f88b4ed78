"""What Keras's backend computes on, and in which precision that is fastest."""

from pathlib import Path

import keras


def fastest_precision(accelerator: bool) -> str:
    """Returns the policy that computes fastest on this device without harm to training.

    16 bits on an accelerator (mixed_float16, whose loss Keras scales; mixed_bfloat16 on a TPU), and on a CPU
    that multiplies bfloat16 in hardware; elsewhere float32. There TensorFlow only: the other backends' CPU
    kernels are slower for it.
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


def _listed() -> list[str]:
    return [] if keras.backend.backend() == "torch" else [*map(str.lower, keras.distribution.list_devices())]
