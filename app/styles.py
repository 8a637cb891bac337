"""The page's styles: the theme's colours as CSS variables, and the Material theme made of them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from deeptracker.app.theme import FONT, RADIUS, THEMES, Theme

VARIABLES = [field.name for field in fields(Theme) if field.name != "name"]


def variables(theme: Theme, selector: str = ":host") -> str:
    """Return a CSS rule that defines every single colour of the theme as `--dt-NAME` (underscores as dashes)."""
    colors = {name: getattr(theme, name) for name in VARIABLES}
    lines = [f"--dt-{name.replace('_', '-')}: {color};" for name, color in colors.items() if isinstance(color, str)]
    return f"{selector} {{ {' '.join(lines)} --dt-font: {FONT}; font-family: {FONT}; }}"


def material(theme: Theme) -> dict[str, Any]:
    """Return the Material theme (palette, letters, quiet components) for one version of our colours."""
    return {
        "palette": {
            "primary": {"main": theme.accent, "contrastText": theme.on_accent},
            "secondary": {"main": theme.muted, "contrastText": theme.page},
            "error": {"main": theme.error},
            "warning": {"main": theme.warning},
            "success": {"main": theme.success},
            "background": {"default": theme.page, "paper": theme.page},
            "text": {"primary": theme.text, "secondary": theme.muted},
            "divider": theme.border,
        },
        "typography": {"fontFamily": FONT, "fontSize": 13, "button": {"textTransform": "none", "fontWeight": 500}},
        "shape": {"borderRadius": RADIUS},
        "components": {
            "MuiButtonBase": {"defaultProps": {"disableRipple": True}},
            "MuiPaper": {"styleOverrides": {"root": {"backgroundImage": "none"}}},
        },
    }


def material_both() -> dict[str, Any]:
    """Return the Material theme of both versions, for a page that switches between them."""
    return {name: material(theme) for name, theme in THEMES.items()}


BAR_HEIGHT = 52


def loader(theme: Theme) -> str:
    """Return CSS by which a page that is still loading shows its own ground and bar, and a thin line that moves.

    Without it Material's template lays half-transparent black and a spinner over everything.
    """
    return f"""
body {{ background-color: {theme.page}; }}
#loader {{ background: linear-gradient({theme.surface} {BAR_HEIGHT}px, {theme.border} {BAR_HEIGHT}px,
  {theme.border} {BAR_HEIGHT + 1}px, {theme.page} {BAR_HEIGHT + 1}px); justify-content: flex-start; gap: 0; }}
#loader .spinner {{ width: 30%; height: 2px; margin-top: {BAR_HEIGHT - 1}px; border: 0; border-radius: 1px;
  background: {theme.accent}; animation: along 1.4s ease-in-out infinite alternate; }}
@keyframes along {{ from {{ transform: translateX(-116%); }} to {{ transform: translateX(116%); }} }}
@media (prefers-reduced-motion: reduce) {{ #loader .spinner {{ width: 100%; animation: none; opacity: .6; }} }}
"""


BAR = {
    # These two keep Material from painting the bar's widgets white on the accent colour.
    "bgcolor": "primary.contrastText",
    "color": "primary.main",
    "backgroundColor": "var(--dt-surface) !important",
    "backgroundImage": "none",
    "borderBottom": "1px solid var(--dt-border)",
    "boxShadow": "none",
}
PAGE = {
    ".MuiAppBar-root": BAR,
    ".MuiToolbar-root": {"minHeight": f"{BAR_HEIGHT}px !important", "paddingLeft": "16px", "paddingRight": "12px"},
    "main .MuiToolbar-root": {"margin": "0 !important"},
    ".MuiAppBar-root .title": {
        "color": "var(--dt-text) !important",
        "fontSize": "15px",
        "fontWeight": 650,
        "letterSpacing": "-0.01em",
        "whiteSpace": "nowrap",
    },
    ".MuiAppBar-root .logo": {"height": "24px !important"},
    ".MuiAppBar-root .MuiLinearProgress-root": {"position": "absolute", "bottom": 0, "height": "2px"},
    ".MuiAppBar-root .MuiIconButton-root": {"color": "var(--dt-muted)"},
}
