"""The choice of light or dark."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_THEMES = (("system", "System"), ("light", "Light"), ("dark", "Dark"))
_SKELETON = (
    '<fieldset class="theme"><legend>Theme</legend>'
    + "".join(
        f'<label><input type="radio" name="whence-theme" value="{value}"> {text}</label>' for value, text in _THEMES
    )
    + "</fieldset>"
)


class ThemeSwitch(PagePart):
    """Light, dark or as the system has it. Has no value: the browser remembers."""

    def __init__(self, **options: Any) -> None:
        super().__init__("theme", _SKELETON, **options)
