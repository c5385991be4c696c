"""The 4D video model: autoencoders, dual-branch U-Net, diffusion, training, pipeline."""

from geo4d_lite.models.autoencoders import LiteAutoencoder
from geo4d_lite.models.diffusion import GripperWeighting, diffusion_loss, make_scheduler, sample
from geo4d_lite.models.pipeline import Geo4DPipeline, Video4D
from geo4d_lite.models.recipe import BEST, PLAIN, RECIPES, Recipe
from geo4d_lite.models.svd import ImageEncoder, SVDAutoencoder
from geo4d_lite.models.training import Trainer, TrainingSettings
from geo4d_lite.models.unet import DualBranchUNet

__all__ = [
    "BEST",
    "PLAIN",
    "RECIPES",
    "DualBranchUNet",
    "Geo4DPipeline",
    "GripperWeighting",
    "ImageEncoder",
    "LiteAutoencoder",
    "Recipe",
    "SVDAutoencoder",
    "Trainer",
    "TrainingSettings",
    "Video4D",
    "diffusion_loss",
    "make_scheduler",
    "sample",
]
