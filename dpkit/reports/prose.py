"""Text of a notebook as HTML that neither runs nor loads anything: Markdown, formulas as MathML,
and other people's HTML without what is not allowed.
"""

import base64
import re
from html import escape
from pathlib import Path
from urllib.parse import unquote

PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
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


def markdown_html(
    source: str,
    folder: Path | None,
    attachments: dict | None,
    headings: list,
    *,
    plain: bool = False,
) -> str:
    """Markdown as HTML, by nbconvert's parser, which knows where a dollar begins a formula and
    where it is code.
    """
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def heading(self, text, level, **attrs):
            words = re.sub(r"[^\w]+", "-", re.sub(r"<[^>]+>", "", text).lower()).strip("-")
            anchor = f"s{len(headings) + 1}-{words}"
            headings.append((level, anchor, clean_html(re.sub(r"</?a\b[^>]*>", "", text))))
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
            return math_html(body, block=True)

        def inline_math(self, body):
            return math_html(body, block=False)

        def latex_environment(self, name, body):
            return math_html(f"\\begin{{{name}}}{body}\\end{{{name}}}", block=True)

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


def math_html(latex: str, *, block: bool) -> str:
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


def clean_html(html: str) -> str:
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
