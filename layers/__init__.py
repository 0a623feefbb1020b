"""Keras layers of the zoo: written in `keras.ops`, so that TensorFlow, JAX and torch all run them."""

from zoo.layers.attention_rnn import AttentionRNN
from zoo.layers.bahdanau_attention import BahdanauAttention
from zoo.layers.batch_norm import BatchNorm
from zoo.layers.bias import Bias
from zoo.layers.class_token import ClassToken
from zoo.layers.crop_like import CropLike
from zoo.layers.expert_feed_forward import ExpertFeedForward
from zoo.layers.gated_dense import GatedDense
from zoo.layers.group_norm import GroupNorm
from zoo.layers.hyper_dense import HyperDense
from zoo.layers.learned_positions import LearnedPositions
from zoo.layers.maxout import Maxout
from zoo.layers.mixture_of_experts import MixtureOfExperts
from zoo.layers.multi_head_attention import MultiHeadAttention
from zoo.layers.ode_block import ODEBlock
from zoo.layers.pad_to_grid import PadToGrid
from zoo.layers.quadratic import Quadratic
from zoo.layers.residual_block import ResidualBlock
from zoo.layers.rms_norm import RMSNorm
from zoo.layers.rotary_positions import RotaryPositions
from zoo.layers.router import Router
from zoo.layers.routing import Routing
from zoo.layers.scheduled_sampling import ScheduledSampling
from zoo.layers.sinusoidal_positions import SinusoidalPositions
from zoo.layers.soft_gate import SoftGate
from zoo.layers.softmax_gate import SoftmaxGate
from zoo.layers.subsampling import Subsampling2D
from zoo.layers.tied_weights import TiedWeights
from zoo.layers.transformer_decoder_block import TransformerDecoderBlock
from zoo.layers.transformer_encoder_block import TransformerEncoderBlock
from zoo.layers.zero_pad_shortcut import ZeroPadShortcut

__all__ = [
    "AttentionRNN",
    "BahdanauAttention",
    "BatchNorm",
    "Bias",
    "ClassToken",
    "CropLike",
    "ExpertFeedForward",
    "GatedDense",
    "GroupNorm",
    "HyperDense",
    "LearnedPositions",
    "Maxout",
    "MixtureOfExperts",
    "MultiHeadAttention",
    "ODEBlock",
    "PadToGrid",
    "Quadratic",
    "RMSNorm",
    "ResidualBlock",
    "RotaryPositions",
    "Router",
    "Routing",
    "ScheduledSampling",
    "SinusoidalPositions",
    "SoftGate",
    "SoftmaxGate",
    "Subsampling2D",
    "TiedWeights",
    "TransformerDecoderBlock",
    "TransformerEncoderBlock",
    "ZeroPadShortcut",
]
