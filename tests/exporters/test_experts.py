"""Every expert asked is the same as the chosen ones asked."""

import pytest
import torch
from transformers import GptOssConfig, MixtralConfig
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts
from transformers.models.mixtral.modeling_mixtral import MixtralExperts

from zen_edge.exporters.experts import every_expert

T, D, E = 7, 16, 4


@pytest.mark.sweep
@pytest.mark.parametrize(
    "experts",
    [
        MixtralExperts(MixtralConfig(hidden_size=D, intermediate_size=24, num_local_experts=E)),  # two projections in one
        GptOssExperts(
            GptOssConfig(hidden_size=D, intermediate_size=24, num_local_experts=E)
        ),  # interleaved, transposed, with biases and a gate of its own
    ],
    ids=["mixtral", "gpt_oss"],
)
@torch.no_grad()
def test_who_is_not_chosen_counts_for_nothing(experts):
    torch.manual_seed(0)
    for weights in experts.parameters():
        weights.normal_(0, 0.3)
    states, chosen = torch.randn(T, D), torch.randn(T, E).topk(2).indices
    shares = torch.rand(T, 2)
    experts.config._experts_implementation = "eager"
    torch.testing.assert_close(every_expert(experts, states, chosen, shares), experts(states, chosen, shares), atol=1e-5, rtol=1e-5)
