"""An executed notebook as one HTML page that loads nothing, from the network or from beside it.

Formulas become MathML here and now, pictures are embedded, code is coloured by pygments, and a
content security policy in the page's head keeps a browser from fetching whatever a notebook's own
HTML may still ask for. The one thing that is read from the disk is a picture that a report's text
names, in the notebook's own folder; of others' text, nothing is.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from dpkit.reports.prose import clean_html, markdown_html, math_html
from dpkit.reports.result import count

if TYPE_CHECKING:
    from nbformat import NotebookNode


POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; form-action "
    "'none'; base-uri 'none'"
)
STYLE = Path(__file__).with_name("page.css")
IMAGES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif")
WIDGET = "application/vnd.jupyter.widget-view+json"


def page(
    notebook: NotebookNode,
    *,
    folder: Path,
    name: str,
    reasons: Iterable[str] = (),
    parameters: dict | None = None,
    result: dict | None = None,
    seconds: float = 0.0,
) -> str:
    """The page as text.

    notebook: an executed nbformat notebook.
    folder:   where pictures named in its text lie.
    name:     its stem.
    reasons:  why it did not pass; empty if it passed.     result: result.json, if there is one.
    """
    headings: list[tuple] = []
    body = [cell_html(cell, folder, headings) for cell in notebook.cells]
    title = next((text for level, _, text in headings if level == 1), escape(name))
    return document(
        title, _header(name, reasons, parameters or {}, result, seconds), body, headings
    )


def document(title: str, header: str, body: Iterable[str], headings: Iterable[tuple] = ()) -> str:
    """A whole page that loads nothing. title, header and the parts of body are HTML; headings:
    (level, anchor, text).
    """
    contents = "".join(
        f'<li class="level{level}"><a href="#{anchor}">{text}</a></li>'
        for level, anchor, text in headings
        if 2 <= level <= 3
    )
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{re.sub('<[^>]+>', '', title)}</title>",
            f"<style>\n{STYLE.read_text(encoding='utf-8')}{_code_css()}</style>",
            "</head>",
            "<body>",
            header,
            f"<nav><details><summary>Contents</summary><ol>{contents}</ol></details></nav>"
            if contents
            else "",
            "<main>",
            *body,
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _header(name, reasons, parameters, result, seconds) -> str:
    when = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    facts = [name, when, f"{seconds:.0f} s"]
    if result:
        machine = result["machine"]
        processor = machine.get("gpu") or machine.get("processor")
        facts += [
            result["device"],
            f"{processor}, {machine.get('threads')} threads",
            count(result["checks"], "check"),
            count(result["figures"], "figure"),
        ]
    verdict = (
        '<p class="verdict failed">FAILED</p><ul class="reasons">'
        + "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
        + "</ul>"
        if reasons
        else '<p class="verdict">PASSED</p>'
    )
    rows = "".join(
        f"<tr><th><code>{escape(key)}</code></th><td><code>{escape(repr(value))}</code></td></tr>"
        for key, value in parameters.items()
    )
    versions = (
        ", ".join(f"{key} {value}" for key, value in result["versions"].items()) if result else ""
    )
    return (
        f'<header>{verdict}<p class="facts">{" · ".join(escape(str(fact)) for fact in facts)}</p>'
        + (
            f"<details><summary>Parameters and versions</summary><table>{rows}</table>"
            f'<p class="facts">{escape(versions)}</p></details>'
            if rows or versions
            else ""
        )
        + "</header>"
    )


# ---- cells ---------------------------------------------------------------------------------------


def cell_html(
    cell: NotebookNode, folder: Path | None, headings: list, *, plain: bool = False
) -> str:
    """One cell of a notebook; its headings are appended to `headings`.

    folder: where pictures named in its text lie; None: no file is read.
    plain:  the text is a stranger's: its HTML is shown as it was typed, its pictures are not, and
            links lead to the web only.
    """
    if cell.cell_type == "markdown":
        html = markdown_html(cell.source, folder, cell.get("attachments"), headings, plain=plain)
        return f'<section class="prose">{clean_html(html)}</section>'
    if cell.cell_type != "code" or not (cell.source.strip() or cell.outputs):
        return ""
    source = _code(cell.source)
    tags = cell.metadata.get("tags", [])
    if "hide-input" in tags or cell.metadata.get("jupyter", {}).get("source_hidden"):
        source = f'<details class="code"><summary>code</summary>{source}</details>'
    elif "injected-parameters" in tags:
        source = f'<p class="note">set for this run:</p>{source}'
    return f'<section class="code">{source}{"".join(map(_output, _joined(cell.outputs)))}</section>'


def _joined(outputs) -> list:
    """Outputs with pieces of one stream put together."""
    joined: list = []
    for output in outputs:
        if joined and output.output_type == "stream" and joined[-1].get("name") == output.name:
            joined[-1] = {**joined[-1], "text": joined[-1]["text"] + output.text}
        else:
            joined.append(dict(output))
    return joined


def _output(output) -> str:
    from nbconvert.filters import ansi2html

    if output["output_type"] == "stream":
        lines = output["text"].split("\n")
        # a progress bar leaves its last state
        text = "\n".join(line[line[:-1].rfind("\r") + 1 :] for line in lines)
        return f'<pre class="output {escape(output["name"])}">{ansi2html(text)}</pre>'
    if output["output_type"] == "error":
        return f'<pre class="output error">{ansi2html(chr(10).join(output["traceback"]))}</pre>'
    data = output["data"]
    if WIDGET in data:
        return '<p class="note">interactive in JupyterLab</p>'
    if "text/html" in data:
        return f'<div class="output rich">{clean_html(data["text/html"])}</div>'
    for kind in IMAGES:
        if kind in data:
            # as <img>, an SVG cannot run or load
            raw = data[kind].encode() if kind == "image/svg+xml" else None
            encoded = base64.b64encode(raw).decode() if raw else "".join(data[kind].split())
            of = output.get("metadata", {}).get(kind, {})
            width = f' width="{int(of["width"])}"' if str(of.get("width", "")).isdigit() else ""
            alt = escape(str(of.get("alt", "figure")))
            return (
                f'<div class="output figure"><img src="data:{kind};base64,{encoded}" '
                f'alt="{alt}"{width}></div>'
            )
    if "text/markdown" in data:
        return (
            '<div class="output '
            f'prose">{clean_html(markdown_html(data["text/markdown"], None, None, []))}</div>'
        )
    if "text/latex" in data:
        formula = math_html(data["text/latex"].strip().strip("$"), block=True)
        return f'<div class="output">{formula}</div>'
    if "text/plain" in data:
        return f'<pre class="output">{ansi2html(data["text/plain"])}</pre>'
    return ""


def _code(source) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    return highlight(source, get_lexer_by_name("python"), HtmlFormatter())


def _code_css() -> str:
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="default", nobackground=True).get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark", nobackground=True).get_style_defs(".highlight")
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{ {dark} }}"
