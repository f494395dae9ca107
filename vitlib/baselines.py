"""Chapter 1: the small CNN that the book compares with."""

from einops.layers.torch import Reduce
from torch import Tensor, nn

from vitlib._checks import check_images, check_positive
from vitlib._shapes import check_input


def conv_layer(in_chans: int, out_chans: int, stride: int) -> nn.Sequential:
    """A 3x3 convolution, batch norm and ReLU."""
    check_positive(in_chans=in_chans, out_chans=out_chans, stride=stride)
    return nn.Sequential(
        nn.Conv2d(in_chans, out_chans, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(out_chans),
        nn.ReLU(),
    )


class SmallCNN(nn.Sequential):
    """Four 3x3 convolutions, the mean over all places, one linear layer.

    Chapter 1. In the spirit of LeCun et al. 1998 with the parts of the
    2010s. Its width is its only size.

    Args:
        in_chans: C.
        num_classes: K.
        width: channels of the first convolution; the others have 2, 4 and
            4 times as many.
    """

    def __init__(
        self, in_chans: int = 1, num_classes: int = 10, width: int = 32
    ) -> None:
        check_positive(in_chans=in_chans, num_classes=num_classes, width=width)
        super().__init__(
            conv_layer(in_chans, width, stride=1),
            conv_layer(width, 2 * width, stride=2),
            conv_layer(2 * width, 4 * width, stride=2),
            conv_layer(4 * width, 4 * width, stride=1),
            Reduce("b c h w -> b c", "mean"),
            nn.Linear(4 * width, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Classify images (B, C, H, W): logits (B, K)."""
        check_images(images, in_chans=self[0][0].in_channels)
        check_input(images, self[0][0].weight, "images")
        return super().forward(images)
