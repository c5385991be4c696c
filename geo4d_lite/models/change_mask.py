"""A change mask: where a film does not change, the network need not say so, it is silenced. Ours, a switch."""

from torch import Tensor


def silenced(out: Tensor, noisy: Tensor, c_noise: Tensor) -> Tensor:
    """F, and behind its channels the logits of a mask s for each modality -> the F whose denoised latents are s D.

    With D = c_skip z + c_out F, and the network's input x = c_in z, the equation s D = c_skip z + c_out F' is solved by
    F' = s F + (1 - s) x / sigma. Where s is 0 the denoised change is 0, whatever the noise: to reach that by F alone, a
    network would have to copy all of its noisy input exactly.
    """
    f, logits = out.float().split([noisy.shape[3], out.shape[3] - noisy.shape[3]], dim=3)
    s = logits.sigmoid().repeat_interleave(noisy.shape[3] // logits.shape[3], dim=3)
    sigma = (4 * c_noise.float()).exp().view(-1, 1, 1, 1, 1, 1)
    return s * f + (1 - s) * noisy.float() / sigma
