"""Muon for convolutions: Keras's own orthogonalizes matrices only and leaves a CNN's kernels to AdamW."""

import keras
from keras import ops

from src.running.devices import has_accelerator


@keras.saving.register_keras_serializable(package="tuned_image_classifier")
class ConvolutionMuon(keras.optimizers.Muon):
    """Muon whose momentum is made orthogonal for each convolution's kernel; all else is AdamW's.

    A kernel of shape (height, width, inputs, filters) is taken as a matrix of (height * width * inputs,
    filters), as K. Jordan does for convolutions (https://kellerjordan.github.io/posts/muon,
    cifar10-airbench). Steps are scaled so that AdamW's usual learning rates and weight decays fit
    (Liu et al., "Muon is scalable for LLM training", 2025).
    """

    def _should_use_adamw(self, variable) -> bool:
        return len(variable.shape) != 4

    def zeropower_via_newtonschulz5(self, x, steps: int):
        """Returns what Keras's own method returns, to rounding; on a CPU in less time for long matrices.

        Every step multiplies x by a polynomial in its small square, x xᵀ or xᵀ x. These polynomials and the
        squares commute, so the steps are done on the squares, and x is multiplied once, by the product of
        all. That needs products of full precision: accelerators round the factors of float32 to fewer bits.
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
