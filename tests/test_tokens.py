"""vitlib.tokens: the class token and the read-out."""

import pytest
import torch

from vitlib.tokens import pool, prepend_token


def test_the_token_comes_first_and_the_patches_follow():
    """Eq. 1: x_class stands in front."""
    x, token = torch.randn(3, 5, 8), torch.randn(1, 1, 8)
    out = prepend_token(x, token)
    assert out.shape == (3, 6, 8)
    assert torch.equal(out[:, :1], token.repeat(3, 1, 1))
    assert torch.equal(out[:, 1:], x)


def test_the_gradient_of_the_token_sums_over_the_batch():
    token = torch.zeros(1, 1, 8, requires_grad=True)
    prepend_token(torch.randn(3, 5, 8), token)[:, 0].sum().backward()
    assert torch.equal(token.grad, torch.full((1, 1, 8), 3.0))


def test_token_takes_component_zero():
    """Eq. 4: component 0."""
    x = torch.randn(3, 6, 8)
    assert torch.equal(pool(x, "token"), x[:, 0])


def test_one_token_is_enough():
    alone = torch.randn(3, 1, 8)
    assert torch.equal(pool(alone, "token"), alone[:, 0])
    assert torch.equal(pool(alone, "avg", 0), alone[:, 0])


@pytest.mark.parametrize("prefix", [0, 1])
def test_avg_is_the_mean_over_patches_only(prefix):
    """Appendix D.3."""
    x = torch.randn(3, 6, 8)
    expected = sum(x[:, i] for i in range(prefix, 6)) / (6 - prefix)
    torch.testing.assert_close(pool(x, "avg", prefix), expected)


def test_an_unknown_pool_is_refused_with_the_known():
    with pytest.raises(ValueError, match="'max'; known: token, avg"):
        pool(torch.zeros(1, 2, 3), "max")


def test_token_without_a_class_token_is_refused():
    with pytest.raises(ValueError, match=r'needs a class token.*use "avg"'):
        pool(torch.zeros(1, 2, 3), "token", num_prefix_tokens=0)
