"""The templates of the pages, which are Markdown."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=False,  # the texts are our own, and no HTML
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)
