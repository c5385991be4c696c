"""A change mask: where a film does not change, the network need not say so, it is silenced. Ours, a switch."""

from torch import Tensor


def silenced(f: Tensor, logits: Tensor, noisy: Tensor, c_noise: Tensor) -> Tensor:
    """The F whose denoised latents are s D, where D are those of `f` and s is the mask.

    f, noisy (B, 2, T, c, H, W), logits of the mask (B, 2, T, modalities, H, W), c_noise (B,). With
    D = c_skip z + c_out F and the network's input x = c_in z, the equation s D = c_skip z + c_out F' is solved by
    F' = s F + (1 - s) x / sigma. Where s is 0 the denoised change is 0, whatever the noise: to reach that by F alone, a
    network would have to copy all of its noisy input exactly.
    """
    s = logits.float().sigmoid().repeat_interleave(noisy.shape[3] // logits.shape[3], dim=3)
    sigma = (4 * c_noise.float()).exp().view(-1, 1, 1, 1, 1, 1)
    return s * f.float() + (1 - s) * noisy.float() / sigma
