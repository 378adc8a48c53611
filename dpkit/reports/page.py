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
from urllib.parse import unquote

from dpkit.reports.result import count

if TYPE_CHECKING:
    from nbformat import NotebookNode


POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; form-action "
    "'none'; base-uri 'none'"
)
STYLE = Path(__file__).with_name("page.css")
PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
IMAGES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif")
WIDGET = "application/vnd.jupyter.widget-view+json"
LATEX = {
    r"\begin{aligned}": r"\begin{align*}",
    r"\end{aligned}": r"\end{align*}",  # what latex2mathml lacks
    r"\lVert": r"\|",
    r"\rVert": r"\|",
    r"\operatorname*": r"\operatorname",
    r"\arg\max": r"\argmax",
    r"\arg\min": r"\argmin",
}
MATH = (
    "math mrow mi mn mo mtext mspace msub msup msubsup munder mover munderover mfrac msqrt mroot "
    "mtable mtr mtd mstyle mpadded mphantom menclose mfenced mmultiscripts mprescripts"
).split()
# a tag that a formula may hold; one with an address, a style or anything that runs is none
MATHML = re.compile(
    rf'</?(?:{"|".join(MATH)})(?:\s(?!on|href|src|style|alt)[a-z]+="[^"<>]*")*\s*/?>'
)
# of the other tags, what a page may hold
ATTRIBUTES = (
    "align alt border checked class colspan dir disabled height id lang open rowspan scope span "
    "start style title type valign value width "
    # of MathML
    "accent accentunder close columnalign columnlines columnspacing columnspan depth display "
    "displaystyle fence form frame largeop linebreak linethickness lspace mathsize mathvariant "
    "maxsize minsize movablelimits notation open rowlines rowspacing rspace scriptlevel separator "
    "separators stretchy symmetric voffset xmlns"
).split()


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
        html = _markdown(cell.source, folder, cell.get("attachments"), headings, plain=plain)
        return f'<section class="prose">{_clean(html)}</section>'
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
        return f'<div class="output rich">{_clean(data["text/html"])}</div>'
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
            f'prose">{_clean(_markdown(data["text/markdown"], None, None, []))}</div>'
        )
    if "text/latex" in data:
        return (
            f'<div class="output">{_math(data["text/latex"].strip().strip("$"), block=True)}</div>'
        )
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


# ---- text and formulas ---------------------------------------------------------------------------


def _markdown(source, folder, attachments, headings, *, plain=False) -> str:
    """Markdown as HTML, by nbconvert's parser, which knows where a dollar begins a formula and
    where it is code.
    """
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def heading(self, text, level, **attrs):
            words = re.sub(r"[^\w]+", "-", re.sub(r"<[^>]+>", "", text).lower()).strip("-")
            anchor = f"s{len(headings) + 1}-{words}"
            headings.append((level, anchor, _clean(re.sub(r"</?a\b[^>]*>", "", text))))
            return f'<h{level} id="{anchor}">{text}</h{level}>\n'

        def inline_html(self, html):
            return (
                escape(html)
                if plain
                else re.sub(r'(<img\b[^>]*?\bsrc=")([^"]+)"', self._embedded, html)
            )

        # nbconvert's would close a <details> that goes on after a blank line
        def block_html(self, html):
            return f"<p>{escape(html)}</p>\n" if plain else self.inline_html(html) + "\n"

        def _embedded(self, match):
            return f'{match[1]}{_picture(match[2], folder, attachments) or match[2]}"'

        # nbconvert's own would read any file below the working directory
        def image(self, text, url, title=None):
            far = re.match(r"(https?:)?//", url, re.IGNORECASE)
            found = None if plain else url if far else _picture(url, folder, attachments)
            alt = re.sub(r"<[^>]*>", "", text)
            return f'<img src="{escape(found)}" alt="{alt}">' if found else f"[picture: {alt}]"

        def link(self, text, url, title=None):
            leads = not plain or re.match(r"https?://|mailto:", url, re.IGNORECASE)
            return super().link(text, url, title) if leads else text

        def block_mermaidjs(self, code):
            return f"<pre>{escape(code)}</pre>"

        def block_math(self, body):
            return _math(body, block=True)

        def inline_math(self, body):
            return _math(body, block=False)

        def latex_environment(self, name, body):
            return _math(f"\\begin{{{name}}}{body}\\end{{{name}}}", block=True)

    return MarkdownWithMath(renderer=Renderer(escape=plain)).render(source)


def _picture(src, folder, attachments) -> str | None:
    """A picture as a data: address, if it is the notebook's own: attached to the cell, or a picture
    file in its folder.
    """
    name = unquote(src)
    try:
        if src.startswith("data:"):
            return src
        if src.startswith("attachment:"):
            attached = attachments[src[11:]] if src[11:] in attachments else attachments[name[11:]]
            kind = next(kind for kind in PICTURES.values() if kind in attached)
            clean = base64.b64encode(base64.b64decode("".join(attached[kind])))
            return f"data:{kind};base64,{clean.decode()}"
        own = Path(folder).resolve()
        # what a link leads to: paths and links out of the folder are nobody's picture
        path = (own / name).resolve()
        if path.is_relative_to(own) and path.is_file():
            picture = base64.b64encode(path.read_bytes())
            return f"data:{PICTURES[path.suffix.lower()]};base64,{picture.decode()}"
    except (OSError, ValueError, TypeError, LookupError, StopIteration):
        # no such picture, or one in an odd form
        pass
    return None


def _math(latex, *, block) -> str:
    """A formula as MathML; what latex2mathml cannot read stays as LaTeX in <code>."""
    from latex2mathml.converter import convert

    plain = latex
    for lacking, known in LATEX.items():
        plain = plain.replace(lacking, known)
    if block:  # what stands under a sum stays there inside a root, too
        plain = re.sub(r"\\(sum|prod|max|min|argmax|argmin)(?=\s*_)", r"\\\1\\limits", plain)
    try:
        html = convert(plain, display="block" if block else "inline")
    except Exception:  # it raises a dozen unrelated types, IndexError among them
        html = ""
    unknown = re.search(r"<m[iotn][^>]*>(\\|&<)", html)  # an unknown command comes through as it is
    if not html or unknown or "<" in MATHML.sub("", html):  # so does HTML in \text, and \href
        return f'<code class="latex">{escape(latex.strip())}</code>'
    return html


def _clean(html) -> str:
    """HTML without what runs or loads. A picture on the network becomes a link."""
    import nh3

    html = re.sub(
        r"<img\b[^>]*?\bsrc\s*=\s*[\"']?((?:https?:)?//[^\"'\s>]+)[^>]*>",
        r'<a href="\1">picture at \1</a>',
        html,
        flags=re.IGNORECASE,
    )
    return nh3.clean(
        html,
        tags=nh3.ALLOWED_TAGS | {*MATH, "input", "section", "style", "tfoot"},
        clean_content_tags={"script"},  # a style is no content: pandas colours tables by it
        attributes={"*": {*ATTRIBUTES}, "a": {"href"}, "img": {"src"}},
        attribute_filter=_in_the_page,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel=None,
    )


def _in_the_page(tag, attribute, value) -> str | None:
    """The value, but for a picture's address elsewhere and a link's address that holds a page."""
    holds = re.match(r"\s*d\s*a\s*t\s*a\s*:", value, re.IGNORECASE) is not None
    return None if attribute in ("src", "href") and holds != (attribute == "src") else value
