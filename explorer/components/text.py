"""Plain paragraphs, files to take along, the link of the view, and the theme."""

from __future__ import annotations

from typing import Any

from explorer.components import Part

_THEMES = (("system", "System"), ("light", "Light"), ("dark", "Dark"))
_THEME = (
    '<fieldset class="theme"><legend>Theme</legend>'
    + "".join(
        f'<label><input type="radio" name="whence-theme" value="{value}"> {text}</label>' for value, text in _THEMES
    )
    + "</fieldset>"
)


class Text(Part):
    """Value: a list of paragraphs. What they hold (titles, notes) is data, never markup."""

    def __init__(self, value: list[str] | None = None, **options: Any) -> None:
        super().__init__("text", '<div class="text"></div>', value=value, **options)


class Downloads(Part):
    """Value: a list of {href, label}; the first is the one to press. Addresses are of this server."""

    def __init__(self, **options: Any) -> None:
        super().__init__("downloads", '<div class="downloads"></div>', **options)


class ViewLink(Part):
    """Value: the query string of the view on show; it is the state of the page. Event: `visit` {query}."""

    def __init__(self, **options: Any) -> None:
        skeleton = '<button type="button" class="copy">Copy link</button>'
        super().__init__("link", skeleton, events=("visit",), **options)


class ThemeSwitch(Part):
    """Light, dark or as the system has it. Has no value: the browser remembers."""

    def __init__(self, **options: Any) -> None:
        super().__init__("theme", _THEME, **options)
