"""Muon for convolutions: Keras's own orthogonalizes matrices only and leaves a CNN's kernels to AdamW."""

import keras
from keras import ops


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

    def _muon_update_step(self, gradient, variable, lr, m) -> None:
        self.assign_add(m, ops.add(gradient, m * (self.momentum - 1)))
        update = ops.add(gradient, self.momentum * m) if self.nesterov else m
        matrix = ops.reshape(update, (-1, variable.shape[-1]))
        step = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.reshape(step, variable.shape))
