"""Exercises of chapter 15, rollout and flow."""

from vitlib.exercises import Exercise


def own_share(share: float, depth: int, tokens: int) -> float:
    """Return what a token keeps of itself under even attention."""
    return share**depth + (1 - share**depth) / tokens


EXERCISES = {
    "1": Exercise(
        asks="own_share(share, depth, tokens): how much of a token is its "
        "own after depth layers of even attention",
        hint="Share to the power of depth never left. The rest was spread "
        "evenly over all tokens, itself among them.",
        right=own_share,
        wrong={
            "What was spread evenly comes back in part: a token is one of "
            "those it is spread over.": (
                lambda share, depth, tokens: share**depth
            ),
            "It multiplies what one layer keeps, and forgets what other "
            "tokens hand back later.": lambda share, depth, tokens: (
                (share + (1 - share) / tokens) ** depth
            ),
            "It is right for one layer only: raise the share to the power "
            "of depth.": lambda share, depth, tokens: own_share(
                share, 1, tokens
            ),
        },
        cases=lambda: [(0.9, 12, 50), (0.5, 3, 5), (0.5, 1, 10)],
        tolerance=1e-6,
    ),
}
