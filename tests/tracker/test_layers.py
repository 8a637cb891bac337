"""Which parameters of a model are layers, and what they are called."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from deeptracker import Recorder, open_run
from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker.layers import find_layers, select_layers
from tests.tracker.test_recorder import assert_layers, watch


class Attentive(nn.Module):
    """A small vision transformer: patches, a class token, positions, attention, a learned scale."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.positions = nn.Parameter(torch.randn(1, 10, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.positions
        tokens = self.norm(tokens + self.attention(tokens, tokens, tokens)[0])
        return self.head(tokens[:, 0]) * self.temperature


def described(model, **options):
    return {
        one.layer.name: (one.layer.kind, one.layer.shape, one.layer.filters) for one in find_layers(model, **options)
    }


def test_a_transformer_has_all_its_parameters_recorded():
    assert described(Attentive()) == {
        "token": ("Parameter", (1, 1, 8), 0),
        "positions": ("Parameter", (1, 10, 8), 0),
        "temperature": ("Parameter", (1,), 0),
        "patches": ("Conv2d", (8, 1, 2, 2), 8),
        "attention.in_proj_weight": ("MultiheadAttention", (24, 8), 24),
        "attention.out_proj": ("NonDynamicallyQuantizableLinear", (8, 8), 8),
        "norm": ("LayerNorm", (8,), 0),
        "head": ("Linear", (3, 8), 3),
    }


def test_attention_over_other_widths_has_a_projection_for_each():
    found = described(nn.MultiheadAttention(8, 2, kdim=4, vdim=6))
    assert {name: shape for name, (_, shape, _) in found.items()} == {
        "q_proj_weight": (8, 8),
        "k_proj_weight": (8, 4),
        "v_proj_weight": (8, 6),
        "out_proj": (8, 8),
    }


def test_biases_are_layers_on_request():
    found = described(Attentive(), biases=True)
    assert found["patches.bias"] == ("Bias", (8,), 0)
    assert found["attention.in_proj_bias"] == ("Bias", (24,), 0)
    assert list(found).index("patches.bias") == list(found).index("patches") + 1
    assert len(found) == len([*Attentive().parameters()])


def test_recurrent_and_parametrised_layers_and_embeddings():
    model = nn.ModuleDict(
        {
            "lstm": nn.LSTM(3, 5),
            "normed": weight_norm(nn.Conv1d(2, 4, 3)),
            "spectral": spectral_norm(nn.Linear(6, 2)),
            "words": nn.Embedding(10, 4),
        }
    )
    found = described(model)
    assert found["lstm.weight_ih_l0"] == ("LSTM", (20, 3), 20)
    assert found["normed.weight.original1"][1:] == ((4, 2, 3), 4)
    assert found["spectral.weight.original"][1:] == ((2, 6), 2)
    assert found["words"] == ("Embedding", (10, 4), 0)


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose3d])
def test_convolutions_of_any_number_of_axes_have_their_output_channels_as_filters(kind):
    [(name, (_, shape, filters))] = described(nn.Sequential(kind(4, 6, 2, groups=2))).items()
    assert (name, shape[:2], filters) == ("0", (6, 2), 6)


VOLUMES = {nn.Conv1d: 5, nn.Conv3d: (5, 5, 5), nn.ConvTranspose1d: 5, nn.ConvTranspose3d: (5, 5, 5)}


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kind", VOLUMES)
def test_convolutions_of_any_number_of_axes_are_recorded_filter_by_filter(tmp_path, kind, groups):
    """`watch` and the oracle put the filters of grouped and depthwise ones on the first axis by a way of their own."""
    torch.manual_seed(0)
    size = VOLUMES[kind]
    model = nn.Sequential(kind(4, 8, 2, groups=groups), nn.GroupNorm(2, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    kept: list = []
    look = watch(model, kept)
    look(-1)
    with Recorder(tmp_path / "run", model, optimizer, every=1, filters_every=1):
        for step in range(3):
            optimizer.zero_grad()
            model(torch.randn(2, 4, *([size] if isinstance(size, int) else size))).square().mean().backward()
            optimizer.step()
            look(step)
    assert_layers(open_run(tmp_path / "run"), kept, range(3))


def test_names_stay_apart():
    model = nn.Module()
    model.weight = nn.Parameter(torch.ones(2))
    model.head = nn.Linear(2, 2)
    model.head.add_module("weights", nn.Linear(2, 2))
    assert list(described(model)) == ["weight", "head", "head.weights"]


def test_layers_are_chosen_by_name_or_by_block():
    layers = find_layers(nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Linear(2, 2)))
    assert select_layers(layers, ["0"], "snapshots") == [0, 1]
    assert select_layers(layers, ["1", "0.1"], "snapshots") == [1, 2]
    with pytest.raises(RecordingError, match=r"snapshots names 'fc', .* it has 0\.0, 0\.1, 1"):
        select_layers(layers, ["fc"], "snapshots")


def test_what_a_transformer_learned_is_recorded_of_every_parameter(tmp_path):
    torch.manual_seed(0)
    model = Attentive()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with Recorder(tmp_path / "run", model, optimizer, every=1, filters_every=1, biases=True):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(4, 1, 6, 6)).square().mean().backward()
            optimizer.step()
        ends = {name: parameter.detach().double() for name, parameter in model.named_parameters()}
    layers = open_run(tmp_path / "run").layers.load().isel(iteration=-1)
    assert layers.sizes["layer"] == len(ends)
    for name, value in ends.items():
        recorded = layers.sel(layer=name.removesuffix(".weight"))
        assert float(recorded.weight_l2) == pytest.approx(float(value.norm()), rel=1e-5), name
        assert float(recorded.relative_change_l2) > 0, name
