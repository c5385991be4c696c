"""Cross-view attention: where view m looks at view n (paper, section 3.3 and appendix)."""

import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn


class CrossViewAttention(nn.Module):
    """`h_m + Attention(query = h_m, key = value = h_n)`, frame by frame over all sites of the feature map.

    Every site of view m may look at every site of view n in the same frame; nothing tells it where to look but the
    content. The output projection starts at zero, so a fresh layer changes nothing.

    Args:
        channels: width of both feature maps.
        heads, head_dim: 8 heads of 64 at paper scale.
    """

    def __init__(self, channels: int, heads: int = 8, head_dim: int = 64):
        super().__init__()
        inner = heads * head_dim
        self.heads = heads
        self.to_q = nn.Linear(channels, inner, bias=False)
        self.to_k = nn.Linear(channels, inner, bias=False)
        self.to_v = nn.Linear(channels, inner, bias=False)
        self.to_out = nn.Linear(inner, channels)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def forward(self, h_m: Tensor, h_n: Tensor) -> Tensor:
        """Feature maps (B T, C, H, W) of both views -> the new features of view m, same shape."""
        v = self._split(self.to_v(tokens(h_n)))
        if v.device.type == "cpu":  # the fused kernel's backward is slow on a CPU at these sizes
            mixed = self.weights(h_m, h_n).to(v.dtype) @ v  # (B T, heads, H W, head_dim)
        else:
            q, k = self._split(self.to_q(tokens(h_m))), self._split(self.to_k(tokens(h_n)))
            mixed = F.scaled_dot_product_attention(q, k, v)
        out = self.to_out(mixed.transpose(1, 2).flatten(2))  # (B T, H W, C)
        return h_m + out.transpose(1, 2).reshape_as(h_m)

    def weights(self, h_m: Tensor, h_n: Tensor) -> Tensor:
        """The attention itself (B T, heads, H W of m, H W of n), rows sum to one."""
        q, k = self._split(self.to_q(tokens(h_m))), self._split(self.to_k(tokens(h_n)))
        return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(dim=-1)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def tokens(h: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H W, C)"""
    return h.flatten(2).transpose(1, 2)


def suit_attention(model: nn.Module) -> None:
    """Give diffusers' attention layers the kernel that suits the device the model is on; the numbers are the same.

    On a CPU plain matrix products, which are faster to train; elsewhere the fused kernel, which does not keep the
    whole attention in memory.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    for module in model.modules():
        if isinstance(module, Attention):
            module.set_processor(AttnProcessor() if on_cpu else AttnProcessor2_0())
