"""The Lightning callback under a real Trainer: what it records is what the hooks of the module saw."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as lightning
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from deeptracker import open_run
from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker.integrations.lightning import RecorderCallback
from tests.tracker.networks import small
from tests.tracker.test_recorder import assert_layers, watch

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:Found . module.s. in eval mode"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    pytest.mark.filterwarnings("ignore:Precision .* is not supported by the model summary"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning"),
]
IMAGES = 24
ROOT = Path(__file__).parents[2]


def images(start: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(start)
    return torch.randn(IMAGES, 1, 6, 6, generator=random), torch.arange(IMAGES) % 3


class Module(lightning.LightningModule):
    """A classifier that keeps what really happened, for the test to compare with."""

    def __init__(self, manual: bool = False, breaks_at: int = -1) -> None:
        super().__init__()
        self.net = small().eval()
        self.automatic_optimization = not manual
        self.breaks_at = breaks_at
        self.losses: list[float] = []
        self.kept: list[dict[str, dict[str, np.ndarray | None]]] = []
        self.logits: list[torch.Tensor] = []

    def training_step(self, batch, _number):
        if len(self.losses) == self.breaks_at:
            raise RuntimeError("the loader broke")
        x, y = batch
        loss = functional.cross_entropy(self.net(x), y)
        self.losses.append(loss.item())
        if self.automatic_optimization:
            return loss
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return None

    def validation_step(self, batch, _number):
        _, x, _ = batch
        logits = self.net(x)
        self.logits.append(logits)
        return logits

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        plain, look = nn.ModuleDict({"net": self.net}), None
        look = watch(plain, self.kept)
        look(-1)
        optimizer.register_step_post_hook(lambda *_: look(0))
        return optimizer


def trainer(folder, callbacks, **options):
    defaults = {"max_epochs": 2, "num_sanity_val_steps": 1, "logger": False, "enable_checkpointing": False}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return lightning.Trainer(default_root_dir=folder, callbacks=callbacks, **{**defaults, **quiet, **options})


def loaders():
    x, y = images()
    named = TensorDataset(torch.arange(IMAGES) + 100, x, y)
    return DataLoader(TensorDataset(x, y), batch_size=8), DataLoader(named, batch_size=16)


def judge(batch, outputs):
    ids, images, targets = batch
    return ids, outputs, targets, images


def fit(folder, path, **options):
    torch.manual_seed(0)
    module = Module(manual=options.pop("manual", False))
    callbacks = [RecorderCallback(path, every=1, filters_every=1, validation=judge)] if path else []
    trainer(folder, callbacks, **options).fit(module, *loaders())
    return module


@pytest.mark.parametrize(
    "options",
    [{}, {"manual": True}, {"accumulate_grad_batches": 3}, {"precision": "bf16-mixed"}, {"gradient_clip_val": 0.1}],
    ids=lambda options: "-".join(options) or "plain",
)
def test_a_fit_is_recorded_and_not_changed(tmp_path, options):
    plain = fit(tmp_path, None, **options)
    module = fit(tmp_path, tmp_path / "run", **options)
    assert module.losses == plain.losses
    for name, value in plain.state_dict().items():
        assert torch.equal(value, module.state_dict()[name])
    run = open_run(tmp_path / "run")
    per_step = options.get("accumulate_grad_batches", 1)
    assert_layers(run, module.kept, range(6 // per_step))
    losses = np.reshape(module.losses, (-1, per_step)).mean(axis=1)
    np.testing.assert_allclose(run.scalars.loss, losses, rtol=1e-6)
    assert run.state == "closed"
    assert run.description.model == "Module"


def test_validations_hold_every_image_and_no_sanity_check(tmp_path):
    module = fit(tmp_path, tmp_path / "run")
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.validation.iteration, [3, 6])
    ids = [int(one) for one in run.validation.image.values]
    assert sorted(ids) == list(range(100, 100 + IMAGES))
    # The sanity check took one batch of 16, the validations all 24 images.
    predicted = torch.cat(module.logits[1:]).argmax(1).reshape(2, IMAGES).numpy()
    np.testing.assert_array_equal(run.validation.predicted, predicted[:, np.array(ids) - 100])


def test_thumbnails_come_with_the_validation_and_nonsense_is_refused(tmp_path):
    fit(tmp_path, tmp_path / "run")
    assert open_run(tmp_path / "run").thumbnail(0) is not None
    broken = RecorderCallback(tmp_path / "broken", validation=lambda _batch, outputs: outputs)
    with pytest.raises(RecordingError, match="The validation function returned Tensor"):
        trainer(tmp_path, [broken]).fit(Module(), *loaders())
    assert open_run(tmp_path / "broken").state == "closed"


def test_an_exception_closes_the_run_and_says_why(tmp_path):
    module = Module(breaks_at=4)
    with pytest.raises(RuntimeError, match="the loader broke"):
        trainer(tmp_path, [RecorderCallback(tmp_path / "run", every=1)]).fit(module, *loaders())
    run = open_run(tmp_path / "run")
    assert run.state == "closed"
    assert run.scalars.sizes["iteration"] == 4


def test_a_fit_that_goes_on_from_a_checkpoint(tmp_path):
    torch.manual_seed(0)
    first, path = Module(), tmp_path / "run"
    begun = trainer(tmp_path, [RecorderCallback(path, every=1, resume=True)], max_epochs=1)
    begun.fit(first, *loaders())
    begun.save_checkpoint(tmp_path / "one.ckpt")
    again = Module()
    callback = RecorderCallback(path, every=1, resume=True)
    trainer(tmp_path, [callback], max_epochs=3).fit(again, *loaders(), ckpt_path=tmp_path / "one.ckpt")
    run = open_run(path)
    np.testing.assert_allclose(run.scalars.loss, first.losses + again.losses)
    assert run.scalars.sizes["iteration"] == 9
    # From the same checkpoint once more: what was recorded beyond it gives way.
    torch.manual_seed(1)
    other = Module()
    callback = RecorderCallback(path, every=1, resume=True)
    trainer(tmp_path, [callback], max_epochs=2).fit(other, *loaders(), ckpt_path=tmp_path / "one.ckpt")
    np.testing.assert_allclose(open_run(path).scalars.loss, first.losses + other.losses)


class Pair(Module):
    """Two optimizers under manual optimization, as adversarial training has them."""

    def configure_optimizers(self):
        return [torch.optim.SGD(self.net[0].parameters(), lr=0.1), torch.optim.SGD(self.net[4].parameters(), lr=0.2)]

    def training_step(self, batch, _number):
        x, y = batch
        for optimizer in self.optimizers():
            loss = functional.cross_entropy(self.net(x), y)
            self.losses.append(loss.item())
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()


def test_two_optimizers_by_hand_make_one_iteration(tmp_path):
    module = Pair(manual=True)
    trainer(tmp_path, [RecorderCallback(tmp_path / "run", every=1)], max_epochs=1).fit(module, *loaders())
    run = open_run(tmp_path / "run")
    np.testing.assert_allclose(run.scalars.loss, np.reshape(module.losses, (-1, 2)).mean(axis=1), rtol=1e-6)
    assert run.scalars["learning_rate/1"].values.tolist() == [0.2] * 3


SCRIPT = """
import os
import sys
import torch
from torch.utils.data import DataLoader
from pytorch_lightning import Trainer
from deeptracker.tracker.integrations.lightning import RecorderCallback
from tests.tracker.test_integration_lightning import Module, judge, loaders
torch.set_num_threads(1)
torch.manual_seed(0)
module = Module()
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
callback = RecorderCallback(sys.argv[1] + "/run", every=1, validation=judge)
trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, callbacks=[callback], **quiet)
trainer.fit(module, *loaders())
if trainer.is_global_zero:
    torch.save({"kept": module.kept, "losses": module.losses}, sys.argv[1] + "/witness.pt")
os._exit(0)  # the threads of gloo abort the end of an interpreter now and then
"""


def test_a_parallel_fit_gathers_what_each_rank_validates(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    answer = subprocess.run(
        [*command, tmp_path / "script.py", tmp_path], capture_output=True, text=True, timeout=240, env=environment
    )
    assert answer.returncode == 0, answer.stderr
    witness = torch.load(tmp_path / "witness.pt", weights_only=False)
    run = open_run(tmp_path / "run")
    assert_layers(run, witness["kept"], range(len(witness["losses"])))
    np.testing.assert_allclose(run.scalars.loss, witness["losses"])
    # Each rank was given a half of the images.
    assert sorted(int(one) for one in run.validation.image.values) == list(range(100, 100 + IMAGES))
    assert (run.validation.predicted.values >= 0).all()
    assert run.state == "closed"
