"""Side of `speed_moons.py`: `tfp_realnvp`, as a person with moons.csv would write it."""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # Keras 3 is then not imported as well

import numpy as np
import speed_moons_target as target
import tf_keras

import tfp_realnvp as tfr


class UntilGoodEnough(tf_keras.callbacks.Callback):
    """Stops when the held-out rows are as likely as asked."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None
        if logs["val_loss"] + log_det <= goal:
            self.model.stop_training = True


train, held_out, goal = target.read()
mean, deviation = train.mean(axis=0), train.std(axis=0)
log_det = float(np.log(deviation).sum())
flow = tfr.real_nvp(event_shape=2, seed=0)
history = tfr.fit(
    flow,
    (train - mean) / deviation,
    validation_data=(held_out - mean) / deviation,
    epochs=200,
    seed=0,
    callbacks=[UntilGoodEnough()],
    verbose=0,
)
target.check(history.history["val_loss"][-1] + log_det, goal)
