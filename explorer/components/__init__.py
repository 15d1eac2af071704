"""The parts of the page: subclasses of gr.HTML, one file each, with its script and style of the same name beside it.

The HTML skeletons are constant and data reaches a script only as `props.value`, put on the page with
textContent: Gradio evaluates templates as JavaScript, so a title inside one would run.
"""

from __future__ import annotations

from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta, updateable

from explorer import __version__

FOLDER = Path(__file__).parent


class PartMeta(ComponentMeta):
    """Gradio's metaclass of components without its habit to write a .pyi file beside the source of every subclass.

    A package that may be installed read-only, and that two processes may import at once, does not write into itself.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> type:
        """Make the class as ComponentMeta does where a class inherits its events."""
        if "__init__" in attrs:
            attrs["__init__"] = updateable(attrs["__init__"])
        return ABCMeta.__new__(cls, name, bases, attrs)


class PagePart(gr.HTML, metaclass=PartMeta):
    """A gr.HTML whose behaviour is `<name>.js` (a module with `mount`) and whose look is `<name>.css`.

    `events` are the custom events that the script triggers: Gradio learns event names by searching
    `js_on_load` for quoted words.
    """

    def __init__(
        self, name: str, skeleton: str, events: tuple[str, ...] = (), styles: tuple[str, ...] = (), **options: Any
    ) -> None:
        """`styles`: names of further style sheets that come before its own."""
        sheets = [FOLDER / f"{sheet}.css" for sheet in (*styles, name)]
        super().__init__(
            html_template=skeleton,
            css_template="\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets),
            js_on_load=(
                f"Promise.all([`latest`, `{name}`].map(name => import(`/static/whence/${{name}}.js?v={__version__}`)))"
                ".then(([common, part]) => part.mount({element, props, watch, trigger: common.latest(trigger)}))"
                ".catch(error => { element.textContent = 'This part failed to load: ' + error; });"
                f" /* events: {' '.join(repr(event) for event in events)} */"
            ),
            apply_default_css=False,
            **options,
        )

    def api_info(self) -> dict[str, Any]:
        """The type of the value, for Gradio's description of its API."""
        return {"type": "object"}
