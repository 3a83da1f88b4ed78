"""Muon for convolutions: Keras's own Muon orthogonalizes only matrices and leaves CNN kernels to AdamW."""

import keras
from keras import ops

from src.running.devices import has_accelerator


@keras.saving.register_keras_serializable(package="tuned_image_classifier")
class ConvolutionMuon(keras.optimizers.Muon):
    """Muon that orthogonalizes the momentum of every convolution kernel; all other weights use AdamW.

    A kernel of shape (height, width, inputs, filters) is treated as a matrix of shape
    (height * width * inputs, filters), as K. Jordan does (https://kellerjordan.github.io/posts/muon,
    cifar10-airbench). Steps are scaled so that AdamW's usual learning rates and weight decays work
    (Liu et al., "Muon is scalable for LLM training", 2025).
    """

    def _should_use_adamw(self, variable) -> bool:
        return len(variable.shape) != 4

    def zeropower_via_newtonschulz5(self, x, steps: int):
        """Returns what Keras's own method returns, up to rounding; faster on a CPU for elongated matrices.

        Every step multiplies x by a polynomial in its smaller Gram matrix, x xᵀ or xᵀ x. These polynomials
        commute with the Gram matrices, so the steps are done on the latter, and x is multiplied only once, by
        the product of all. This needs full precision: accelerators round float32 factors to fewer bits.
        """
        if max(x.shape) < 2 * min(x.shape) or has_accelerator():
            return super().zeropower_via_newtonschulz5(x, steps)
        is_tall = x.shape[0] > x.shape[1]
        x = x / (ops.norm(x) + 1e-7)
        square = ops.transpose(x) @ x if is_tall else x @ ops.transpose(x)
        identity = ops.eye(square.shape[0], dtype=square.dtype)
        product = identity
        for _ in range(steps):
            polynomial = self.muon_a * identity + self.muon_b * square + self.muon_c * square @ square
            product = polynomial @ product
            square = polynomial @ square @ polynomial
        return x @ product if is_tall else product @ x

    def _muon_update_step(self, gradient, variable, lr, m) -> None:
        self.assign_add(m, ops.add(gradient, m * (self.momentum - 1)))
        update = ops.add(gradient, self.momentum * m) if self.nesterov else m
        matrix = ops.reshape(update, (-1, variable.shape[-1]))
        step = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.reshape(step, variable.shape))
