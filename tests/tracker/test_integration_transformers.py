"""The callback of Hugging Face's Trainer: every step's loss and weights, validations, checkpoints."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging
from transformers.utils.generic import ModelOutput

from deeptracker import open_run
from deeptracker.tracker.integrations.transformers import RecorderCallback
from tests.tracker.networks import small
from tests.tracker.test_recorder import assert_layers, watch

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*pin_memory.* argument is set as true"),
]
IMAGES = 24


class Images(Dataset):
    def __len__(self):
        return IMAGES

    def __getitem__(self, number):
        random = torch.Generator().manual_seed(number)
        return {"pixels": torch.randn(1, 6, 6, generator=random), "labels": torch.tensor(number % 3)}


class Classifier(nn.Module):
    """A model of the kind that the Trainer wants: it returns its loss."""

    def __init__(self):
        super().__init__()
        self.net = small().eval()

    def forward(self, pixels, labels=None):
        logits = self.net(pixels)
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return ModelOutput(loss=loss, logits=logits)


class SharesOfLoss(Classifier):
    """One that divides by the number of all items of a step, as language models do."""

    def forward(self, pixels, labels=None, num_items_in_batch=None, **_):
        logits = self.net(pixels)
        if labels is None:
            return ModelOutput(loss=None, logits=logits)
        summed = functional.cross_entropy(logits, labels, reduction="sum")
        return ModelOutput(
            loss=summed / (len(labels) if num_items_in_batch is None else num_items_in_batch), logits=logits
        )


class Witness(TrainerCallback):
    """Keeps what really happened at every step."""

    def __init__(self, model):
        self.kept, self.losses, self.model = [], [], model
        self.look = watch(nn.ModuleDict({"net": model.net}), self.kept)
        self.look(-1)

    def on_optimizer_step(self, *_, **__):
        self.look(0)

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))


@pytest.fixture(autouse=True)
def quiet():
    logging.set_verbosity_error()


def trainer(folder, model, callbacks, **options):
    arguments = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "learning_rate": 0.05, "logging_steps": 1}
    quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "seed": 3}
    own = {"compute_metrics": options.pop("compute_metrics", None)}
    settings = TrainingArguments(output_dir=str(folder), **{**arguments, **quiet, **options})
    data = Images()
    return Trainer(model=model, args=settings, train_dataset=data, eval_dataset=data, callbacks=callbacks, **own)


def train(folder, path, kind=Classifier, **options):
    torch.manual_seed(0)
    model = kind()
    witness = Witness(model)
    callbacks = [witness, *([RecorderCallback(path, every=1, filters_every=1)] if path else [])]
    trainer(folder, model, callbacks, **options).train()
    return model, witness


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Classifier, {}),
        (Classifier, {"gradient_accumulation_steps": 2}),
        (SharesOfLoss, {"gradient_accumulation_steps": 2}),
        (Classifier, {"bf16": True}),
    ],
)
def test_a_training_is_recorded_and_not_changed(tmp_path, kind, options):
    plain, before = train(tmp_path, None, kind, **options)
    model, witness = train(tmp_path, tmp_path / "run", kind, **options)
    assert witness.losses == before.losses
    assert all(torch.equal(model.state_dict()[name], value) for name, value in plain.state_dict().items())
    run = open_run(tmp_path / "run")
    assert_layers(run, witness.kept, range(12 // options.get("gradient_accumulation_steps", 1)))
    # What the Trainer logs is rounded.
    np.testing.assert_allclose(run.scalars.loss, witness.losses, atol=1e-3)
    assert run.state == "closed"


def test_evaluations_are_recorded_beside_the_metrics(tmp_path):
    torch.manual_seed(0)
    model = Classifier()
    callback = RecorderCallback(tmp_path / "run", every=1)
    predictions = []

    def accuracy(prediction):
        predictions.append(prediction.predictions.argmax(1))
        return {"accuracy": float((predictions[-1] == prediction.label_ids).mean())}

    names = [f"image-{number}" for number in range(IMAGES)]
    judged = callback.judge(accuracy, ids=names)
    fitted = trainer(tmp_path, model, [callback], eval_strategy="epoch", compute_metrics=judged)
    fitted.train()
    assert "eval_accuracy" in fitted.state.log_history[-2]
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.validation.iteration, [6, 12])
    order = [names.index(name) for name in run.validation.image.values]
    np.testing.assert_array_equal(run.validation.predicted, np.array(predictions)[:, order])
    # Without a training there is nothing to record, and the metrics are the same.
    assert callback.judge(None)(SimpleNamespace(predictions=np.zeros((2, 3)), label_ids=np.zeros(2))) == {}


def test_a_training_that_goes_on_from_a_checkpoint(tmp_path):
    def go_on(epochs, checkpoint):
        model = Classifier()
        callback = RecorderCallback(tmp_path / "run", every=1, resume=True)
        options = {"num_train_epochs": epochs, "save_strategy": "epoch"}
        trainer(tmp_path, model, [callback], **options).train(resume_from_checkpoint=checkpoint)

    go_on(2, None)
    assert open_run(tmp_path / "run").scalars.sizes["iteration"] == 12
    go_on(3, str(tmp_path / "checkpoint-6"))
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.scalars.iteration, range(18))


def test_a_training_that_fails_leaves_a_run_that_can_be_closed(tmp_path):
    class Broken(Classifier):
        calls = 0

        def forward(self, pixels, labels=None):
            self.calls += 1
            if self.calls > 4:
                raise RuntimeError("broke")
            return super().forward(pixels, labels)

    callback = RecorderCallback(tmp_path / "run", every=1)
    with pytest.raises(RuntimeError, match="broke"):
        trainer(tmp_path, Broken(), [callback]).train()
    callback.close()
    callback.close()
    run = open_run(tmp_path / "run")
    assert run.state == "closed"
    assert run.scalars.sizes["iteration"] == 4
