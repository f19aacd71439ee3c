"""The options of poolings; without torch, so that they are checked at once."""

from pydantic import Field

from sv.registry import Options


class PoolingOptions(Options):
    """Base of the options of all poolings; the plain ones have none."""


class AttentionOptions(PoolingOptions):
    """Options of attentive statistics."""

    bottleneck_dim: int = Field(128, gt=0)
    global_context_att: bool = False  # the attention also sees the utterance's mean and deviation


class NormedAttentionOptions(PoolingOptions):
    """Options of attentive statistics with batch norm in the attention."""

    hidden_dim: int = Field(128, gt=0)


class MultiHeadOptions(PoolingOptions):
    """Options of statistics with an attention for each group of channels.

    Attributes:
        layer_num: layers of an attention.
        head_num: groups of channels.
        d_s: 1 for one weight a frame and head; more (any number) for one for each channel.
        bottleneck_dim: channels between two layers.
    """

    layer_num: int = Field(2, gt=0)
    head_num: int = Field(2, gt=0)
    d_s: int = Field(1, gt=0)
    bottleneck_dim: int = Field(64, gt=0)


class MultiQueryOptions(MultiHeadOptions):
    """Options of several such statistics of the same frames."""

    head_num: int = Field(8, gt=0)
    d_s: int = Field(2, gt=0)
    query_num: int = Field(2, gt=0)


class XiOptions(PoolingOptions):
    """Options of the posterior mean of the xi-vector."""

    hidden_size: int = Field(256, gt=0)  # channels of the estimator of the precisions
    stddev: bool = False  # append the deviation
    train_mean: bool = True  # learn the prior's mean
    train_prec: bool = True  # learn the prior's precision
