"""Exercises of chapter 11, pretrained weights."""

from math import log

from vitlib.exercises import Exercise

EXERCISES = {
    "3": Exercise(
        asks="the first loss of the book's model with a new head for three "
        "classes",
        hint="A head of zeros gives three equal logits.",
        right=log(3),
        wrong={
            "That is the loss for ten classes; the new head has three.": log(
                10
            ),
            "Equal logits are no certainty: the right class has a third.": 0.0,
            "That is the probability of the right class; the loss is minus "
            "its logarithm.": 1 / 3,
            "That is a logarithm to another base; the loss is in nats.": log(
                3, 2
            ),
        },
        tolerance=0.01,
    ),
    "4": Exercise(
        asks="how many tokens the book's model has for 28x56 pixels",
        hint="Patches of 4x4 pixels; and one token is no patch.",
        right=7 * 14 + 1,
        wrong={
            "The class token is missing.": 7 * 14,
            "There is one class token, not one for each half.": 100,
            "That is the square image: 28 pixels wide.": 50,
        },
        tolerance=0,
    ),
}
