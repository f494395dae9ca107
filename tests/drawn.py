"""What the property tests draw: tensors of every kind, and how they judge.

VITLIB_PROPERTIES=500 python -m pytest tests/test_properties*.py

tries that many examples a property, other ones each time; without it the
same few are tried always.
"""

import os
import traceback
from pathlib import Path

import hypothesis
import torch
from hypothesis import strategies as st

import vitlib

COUNT = int(os.environ.get("VITLIB_PROPERTIES", "0"))
hypothesis.settings.register_profile(
    "vitlib",
    max_examples=COUNT or 20,
    derandomize=not COUNT,
    database=None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    # the last one, which explains a failure, takes minutes under pytest
    phases=list(hypothesis.Phase)[:-1],
)
hypothesis.settings.load_profile("vitlib")

HOME = str(Path(vitlib.__file__).parent)
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
WHOLE = (torch.uint8, torch.int32, torch.int64, torch.bool)
DTYPES = FLOATS + WHOLE
# Of one rounding; a test multiplies where many are added up.
ROUNDING = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 4e-3,
    torch.bfloat16: 3e-2,
}
TAME = ("normal", "zeros", "tiny", "denormal", "large")
WILD = ("huge", "nan", "inf")
LAYOUTS = (
    "plain",
    "transposed",
    "strided",
    "expanded",
    "offset",
    "channels_last",
    "grad",
)


def values(shape, kind, seed):
    """Numbers in float64 of one kind; NaN and infinities are a few."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=rng, dtype=torch.float64)
    if kind in ("nan", "inf"):
        few = torch.rand(shape, generator=rng) < 0.2
        wild = torch.full_like(x, float(kind)).copysign(x)
        return torch.where(few, wild, x)
    sizes = {"zeros": 0, "tiny": 1e-6, "denormal": 1e-40, "large": 100}
    return x * {**sizes, "huge": 1e30}.get(kind, 1)


def lay_out(x, layout):
    """The same numbers in another place in memory, but for "expanded"."""
    if layout == "transposed":
        order = tuple(reversed(range(x.ndim)))
        return x.permute(order).contiguous().permute(order)
    if layout == "strided" and x.ndim:
        return x.repeat_interleave(2, dim=-1)[..., ::2]
    if layout == "expanded" and x.ndim and len(x):
        return x[:1].expand(x.shape)
    if layout == "offset" and x.ndim:
        return torch.cat([x[:1], x])[len(x[:1]) :]
    if layout == "channels_last" and x.ndim == 4:
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "grad" and x.is_floating_point():
        return x.clone().requires_grad_()
    return x


@st.composite
def tensors(draw, shape, dtypes=FLOATS, kinds=TAME, layouts=LAYOUTS):
    """A tensor of a shape, or of one that a strategy draws."""
    shape = shape if isinstance(shape, tuple) else draw(shape)
    dtype = draw(st.sampled_from(dtypes))
    kind = draw(st.sampled_from(kinds))
    x = values(shape, kind, draw(st.integers(0, 2**32)))
    if dtype in WHOLE:
        low = 0 if dtype == torch.uint8 else -100
        x = x.nan_to_num(0, 100, -100).mul(50).clamp(low, 100)
    return lay_out(x.to(dtype), draw(st.sampled_from(layouts)))


def shapes(least=0, most=5, side=4):
    """Shapes of any number of dimensions, zero and one among the sizes."""
    sizes = [n for n in (2, 1, 3, 0, *range(4, 9)) if n <= side]
    return st.lists(st.sampled_from(sizes), min_size=least, max_size=most).map(
        tuple
    )


def around(dimensions, side=4):
    """Shapes that mostly have so many dimensions."""
    right = shapes(dimensions, dimensions, side)
    return st.one_of(right, right, right, shapes(0, 5, side))


def outcome(function, *args, **kwargs):
    """What a function gives, or None where it refuses as it ought to.

    It ought to raise ValueError itself, in words.
    """
    try:
        return function(*args, **kwargs)
    except ValueError as error:
        refusal = error
    place = traceback.extract_tb(refusal.__traceback__)[-1].filename
    assert place.startswith(HOME), f"{place} raised {refusal!r}"
    assert len(str(refusal)) > 20, refusal
    return None


def refuses(function, *args, **kwargs):
    """Whether a function refuses; what it gives is thrown away."""
    return outcome(function, *args, **kwargs) is None


def close(found, wanted, times=1.0, scale=None):
    """Compare with float64; scale is that of the numbers that were added."""
    assert found.shape == wanted.shape
    rounding = times * ROUNDING[found.dtype]
    if scale is None:
        finite = wanted[wanted.isfinite()]
        scale = finite.abs().max().item() if finite.numel() else 0.0
    torch.testing.assert_close(
        found.detach().double(),
        wanted.detach().double(),
        rtol=rounding,
        atol=rounding * scale + torch.finfo(found.dtype).tiny,
        equal_nan=True,
    )


def on_meta(*args):
    """The same arguments without values, on PyTorch's device for that."""
    return [
        arg.detach().to("meta") if isinstance(arg, torch.Tensor) else arg
        for arg in args
    ]


def same_on_meta(function, found, *args):
    """The device is that of the arguments, shape and dtype as on a CPU."""
    there = function(*on_meta(*args))
    assert there.device.type == "meta"
    assert (there.shape, there.dtype) == (found.shape, found.dtype)


def covers(*objects):
    """Note on a test which public functions it holds to a property."""

    def mark(test):
        test.covers = {f"{o.__module__}.{o.__qualname__}" for o in objects}
        return test

    return mark
