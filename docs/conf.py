"""How the manual is built: `sphinx-build -n -W docs docs/_build`. A dead link or reference fails."""

from __future__ import annotations

import re
from typing import Any, get_args

import sansio_step

project = "sansio-step"
release = version = sansio_step.__version__
project_copyright = "The sansio-step maintainers"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"sansio-step {release}"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["wide.css"]  # code has 120 columns, which the theme cuts off

myst_heading_anchors = 3  # as GitHub makes them, so that a link works in both places

# Single backticks in docstrings are code, as in the rest of the repository.
default_role = "literal"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
HIDDEN = [
    # What the library's own layers ask of each other.
    *("deviations_before", "growing", "grows", "is_clean", "is_fresh", "mutable", "new_entries", "offset_of_event"),
    *(
        "piece",
        "read_chunk",
        "read_end",
        "read_given",
        "read_joined",
        "set_finished",
        "set_unapplied",
        "settle",
        "sizes",
    ),
    *("fail", "leave", "note", "reserve", "take", "text_field", "with_text"),
    "type",  # which the tables of events.md have
    "bytes",  # a field of that name, to which every `bytes` in a signature would be a link
]
autodoc_default_options = {"exclude-members": ", ".join(HIDDEN)}
maximum_signature_line_length = 100
# What archives need takes longer to install than the manual to build, and only its names are wanted here.
autodoc_mock_imports = ["dask", "distributed", "fsspec", "pyarrow", "ray"]

nitpick_ignore_regex = [
    # Other projects' types: there are no inventories of theirs, since the build asks no network.
    ("py:.*", r"(?!sansio_step).*"),
    # Private types that show in public signatures: bases, what two modules share, what a caller gets and passes on.
    ("py:class", r"sansio_step\._base\.(Extra|WireStruct)"),
    ("py:class", r"sansio_step\._receiver\.Item"),
    ("py:class", r"sansio_step\._runs\.DeltaRun"),
    ("py:class", r"sansio_step\.testing\._invariance\.Receiver"),
    ("py:class", r"sansio_step_adapters\.(anyio|sockets)\._CallDriver"),
    ("py:class", r"sansio_step_adapters\._(framing\.Framing|options\.UpstreamOptions|secrets\.Mask)"),
    ("py:class", r"sansio_step_adapters\._replay\.rules\.Selection"),
]


_MARKS = re.compile(r"(`[^`]*`)|([*|]|(?<=\w)_(?!\w))")


def read_docstring(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain words with code in single backticks: other marks say nothing, an indented part is code."""
    shown: list[str] = []
    for line in lines:
        before = [other for other in shown if other]
        begins = line.startswith("    ") and before and not before[-1].startswith(" ") and not shown[-1]
        plain = line if line.startswith("    ") else _MARKS.sub(lambda mark: mark[1] or f"\\{mark[2]}", line)
        shown += ["::", "", line] if begins else [plain]
    lines[:] = shown


UNIONS = {
    " | ".join(f"{{}}{each.__module__}.{each.__qualname__}" for each in get_args(getattr(sansio_step, name))): name
    for name in ("ContentBlock", "Delta", "JSONDelta", "StreamEvent")
}


def name_unions(
    app: Any, what: str, name: str, obj: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """A union of twenty classes is called by its name."""

    def shown(text: str | None) -> str | None:
        for union, alias in UNIONS.items():
            for mark in ("~", ""):
                text = text and text.replace(union.format(*[mark] * 20), f"{mark}sansio_step.{alias}")
        return text and text.replace("<factory>", "...")

    return shown(signature), shown(returned)


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", name_unions)
    app.connect("autodoc-process-docstring", read_docstring)
