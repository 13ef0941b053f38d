import torch
from torch import nn

from ni_core.training.precision import mixed_precision, working_type

CPU = torch.device("cpu")


def test_networks_run_in_the_working_type_and_keep_their_weights() -> None:
    layer = nn.Linear(4, 4)
    with mixed_precision(CPU):
        found = layer(torch.ones(1, 4))
    assert found.dtype == working_type(CPU)
    assert layer.weight.dtype == torch.float32


def test_a_processor_without_bfloat16_computes_in_float32() -> None:
    has_it = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert working_type(CPU) == (torch.bfloat16 if has_it else torch.float32)


def test_a_gpu_has_bfloat16() -> None:
    assert working_type(torch.device("cuda")) == torch.bfloat16
