"""The colours and letters of the diagrams, by day and by night."""

from __future__ import annotations

# kind: fill and line by day, fill and line by night
SHAPES = {
    "ground": ("#f6f8f9", "#e3e7eb", "#1a1f25", "#353b42"),
    "plain": ("#ffffff", "#7b8794", "#262d35", "#8b97a3"),
    "patch": ("#d3e9f1", "#0b6e8f", "#17414f", "#6cc3de"),
    "class": ("#fbdcc8", "#b4531f", "#5a3019", "#f0a070"),
    "place": ("#dcebd2", "#4a7a30", "#2a4220", "#9ccb80"),
    "head": ("#e8daf0", "#7b4490", "#412b4c", "#cfa3de"),
    "patch-deep": ("#0b6e8f", "#0b6e8f", "#6cc3de", "#6cc3de"),
    "head-deep": ("#7b4490", "#7b4490", "#cfa3de", "#cfa3de"),
    "line": ("none", "#52606d", "none", "#a9b4bf"),
    "tip": ("#52606d", "#52606d", "#a9b4bf", "#a9b4bf"),
}
# kind: by day, by night
WORDS = {"ink": ("#1f2933", "#e4e9ee"), "quiet": ("#52606d", "#a9b4bf")}
FONT = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def style() -> str:
    """Return the style sheet that every diagram holds."""
    rules, modes = [], ([], [])
    for kind, colours in SHAPES.items():
        rules.append(
            f".vit-diagram .{kind}{{fill:var(--{kind});"
            f"stroke:var(--{kind}-line)}}"
        )
        for mode, at in zip(modes, (0, 2), strict=True):
            mode.append(
                f"--{kind}:{colours[at]};--{kind}-line:{colours[at + 1]}"
            )
    for kind, colours in WORDS.items():
        rules.append(f".vit-diagram .{kind}{{fill:var(--{kind})}}")
        for mode, colour in zip(modes, colours, strict=True):
            mode.append(f"--{kind}:{colour}")
    day, night = (f".vit-diagram{{{';'.join(mode)}}}" for mode in modes)
    return "\n".join(
        [
            *rules,
            day,
            f"@media (prefers-color-scheme: dark){{{night}}}",
            f'html[data-theme="light"] {day}',
            f'html[data-theme="dark"] {night}',
        ]
    )
