"""What a page reads and shows of a notebook: pictures of a report's own folder, and of strangers'
texts their text.
"""

import re
from html.parser import HTMLParser

import pytest

pytest.importorskip("nbformat")
pytest.importorskip("nbconvert")

from nbformat import v4
from test_reports import loads

from dpkit.reports.page import cell_html, page


def tags(html):
    """(tag, its attributes) as a browser's parser finds them."""
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
    parser.feed(html)
    return found


def shown(cells, folder="."):
    notebook = v4.new_notebook()
    notebook.cells = cells  # as they are: files may hold what nbformat would refuse
    return page(notebook, folder=folder, name="lesson")


PNG = b"\x89PNG as far as anybody looks"


@pytest.fixture
def beside(tmp_path):
    """A notebook's folder with a picture, and what lies outside of it and in it that is none."""
    folder = tmp_path / "notebooks"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "a b.png").write_bytes(PNG)
    (folder / "secret.txt").write_text("secret")
    (tmp_path / "outside.png").write_bytes(b"secret")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "hidden.png").symlink_to(folder / "secret.txt")
    return folder


def test_a_reports_text_shows_pictures_of_its_own_folder(beside):
    text = 'At *once* ![moon plot](figures/a%20b.png) and <img src="figures/a b.png" width="3">'
    html = shown([v4.new_markdown_cell(text)], beside)
    assert (
        html.count("data:image/png;base64,iVBORyBhcyBm") == 2
        and 'alt="moon plot"' in html
        and loads(html) == []
    )


@pytest.mark.parametrize(
    "name",
    [
        "secret.txt",
        "../outside.png",
        "link.png",
        "hidden.png",
        "/etc/hostname",
        "/proc/self/environ",
        "figures",
        "none.png",
        "x\0.png",
        "n" * 5000 + ".png",
        "~/x.png",
        "figures/../../outside.png",
    ],
)
def test_a_reports_text_reads_no_other_file(beside, name):
    (beside.parent / "x.png").write_bytes(b"secret")
    tried = [
        f"![p]({name})",
        f"!![p]({name})",
        f"![p](<{name}>)",
        f'<img src="{name}">',
        f"![p](file://{name})",
        f"![p][r]\n\n[r]: {name}",
        f'<picture><source srcset="{name}"><img alt=x src={name}></picture>',
        f'<object data="{name}">x</object>',
        f'<embed src="{name}">',
        f'<link rel=stylesheet href="{name}">',
        f'<svg><image href="{name}"/></svg>',
        f'<video poster="{name}" src="{name}"></video>',
        f"$\\input{{{name}}}$",
    ]
    cells = [v4.new_markdown_cell(text) for text in tried]
    output = v4.new_code_cell(
        "show()",
        execution_count=1,
        outputs=[
            v4.new_output(
                "display_data",
                {"text/markdown": "\n\n".join(tried) + "\n\n![p](figures/a%20b.png)"},
            ),
            v4.new_output("display_data", {"text/html": "".join(tried[3:])}),
            v4.new_output("display_data", {"text/latex": f"$\\input{{{name}}}$"}),
        ],
    )
    html = shown([*cells, output], beside)
    assert "data:" not in re.sub(r"<meta[^>]*>|img-src data:", "", html)
    assert loads(html) == [] and "c2VjcmV0" not in html


@pytest.mark.parametrize(
    "attack",
    [
        "<video title='>' src=//x.org/a.mp4></video>",
        "<audio/src=a.mp3>",
        "<b onclick=alert(1)>b</b>",
        "<a href='java\tscript:alert(1)'>a</a>",
        "<a href='\tdata:text/html,x'>a</a>",
        "<scr<script>ipt src=//x.org/a.js>",
        "<svg><style><img src=//x.org/a.png onerror=alert(1)></style></svg>",
        "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=1 onerror=f()>'>",
    ],
)
def test_html_of_a_report_neither_runs_nor_loads_in_its_text_its_contents_and_its_outputs(attack):
    shows = v4.new_output("display_data", {"text/html": attack})
    cells = [
        v4.new_markdown_cell(f"{attack}\n\n## In the contents {attack}\n\nand {attack}"),
        v4.new_code_cell("show()", execution_count=1, outputs=[shows]),
    ]
    found = tags(shown(cells).partition("<body>")[2])
    assert {tag for tag, _ in found}.isdisjoint(["script", "video", "audio", "svg", "mglyph"])
    for _, attributes in found:
        assert not [name for name in attributes if name.startswith("on")]
        assert re.match(r"data:|$", attributes.get("src", ""))
        assert re.match(r"https?:|#|$", attributes.get("href", ""))


@pytest.mark.parametrize(
    "attached",
    [
        None,
        {},
        {"x.png": {}},
        {"x.png": 3},
        {"x.png": {"text/html": "PGI+"}},
        [],
        "x.png",
        7,
        {"x.png": {"image/png": "@"}},
        {"x.png": {"image/png": None}},
        {"x.png": {"image/png": [1]}},
        {"y.png": {"image/png": "AAAA"}},
    ],
)
def test_an_attachment_that_is_missing_or_malformed_is_a_picture_that_is_not_there(attached):
    cell = v4.new_markdown_cell("before ![fig](attachment:x.png) after")
    cell["attachments"] = attached
    assert "before [picture: fig] after" in shown(
        [cell]
    ) or 'src="data:image/png;base64,"' in shown([cell])


def test_an_attachment_is_shown():
    cell = v4.new_markdown_cell("![fig](attachment:my%20x.png) ![fig](attachment:y.png)")
    cell["attachments"] = {"my x.png": {"image/png": "AAAA"}, "y.png": {"image/jpeg": ["BB", "BB"]}}
    html = shown([cell])
    assert (
        'src="data:image/png;base64,AAAA"' in html and 'src="data:image/jpeg;base64,BBBB"' in html
    )


@pytest.mark.parametrize(
    "latex",
    [
        r"\text{<img src=x onerror=alert(1)>}",
        r"\href{javascript:alert(1)}{x}",
        r"\style{color:red}{x}",
        r"\text{<mglyph src='x.png'/>}",
        r"\color{red\"><img>}{x}",
        r"\text{</math><script>x</script>}",
    ],
)
def test_a_formula_is_mathml_and_nothing_else(latex):
    html = shown([v4.new_markdown_cell(f"${latex}$ and $a<b$")])
    assert '<code class="latex">' in html and html.count("<math ") == 1
    body = tags(html.partition("<main>")[2])
    assert {tag for tag, _ in body} == {"section", "p", "code", "math", "mrow", "mi", "mo"}
    assert {name for _, attributes in body for name in attributes} == {"class", "xmlns", "display"}


def test_a_line_of_output_without_an_end_is_shown_at_once():
    cell = v4.new_code_cell(
        "show()",
        execution_count=1,
        outputs=[
            v4.new_output("stream", name="stdout", text="x" * 200_000 + "\n1%\r2%\r\na\r\n\r")
        ],
    )
    html = shown([cell])
    assert "x" * 200_000 in html and "2%\r\na\r\n\r" in html and "1%" not in html


# ---- a stranger's text ---------------------------------------------------------------------------

TEXTS = [
    "!![x](NAME)",
    "![x](NAME)",
    "!\\![x](NAME)",
    "!!![x](NAME)",
    "![[x]](NAME)",
    "![x](<NAME>)",
    "![x](./NAME)",
    "![x][r]\n\n[r]: NAME",
    "[![x](NAME)](NAME)",
    "# ![x](NAME)",
    "| a |\n|---|\n| ![x](NAME) |",
    "> * ![x](NAME)",
    "- [ ] ![x](NAME)",
    "a\n: ![x](NAME)",
    "~~![x](NAME)~~",
    '<img src="NAME">',
    "<img src=NAME>",
    "<IMG SRC='NAME'>",
    'a <img src="NAME"> b',
    "<iframe src=NAME></iframe>",
    "<object data=NAME></object>",
    "<embed src=NAME>",
    "<link rel=stylesheet href=NAME>",
    "<style>@import url(NAME)</style>",
    "<p style='background:url(NAME)'>",
    "<svg><image href=NAME></svg>",
    "<meta http-equiv=refresh content='0; url=NAME'>",
    "<script src=NAME></script>",
    "[x](file:///NAME)",
    "[x](javascript:alert(1))",
    "[x](NAME)",
    "<file:///NAME>",
    "[x]( data:text/html,x )",
    "![x](file:NAME)",
    "![x](attachment:NAME)",
    "![x](attachment:)",
    "!![x](attachment:NAME)",
    r"$\text{<img src=NAME>}$",
    r"$$\input{NAME}$$",
    r"\begin{align}\input{NAME}\end{align}",
    r"$\href{NAME}{x}$",
    "```{.python include=NAME}\n```",
    "```mermaid\n<img src=NAME>\n```",
    "```<img src=NAME>\nx\n```",
    "%load NAME",
    "{% include 'NAME' %}",
    "![x](data:image/png;base64,AA)",
    "# <video title='>' src=NAME onloadstart=alert(1)>",
    "[x](&#106;avascript:alert(1))",
]
TAGS = {
    "p",
    "section",
    "a",
    "h1",
    "em",
    "strong",
    "del",
    "code",
    "pre",
    "ul",
    "ol",
    "li",
    "blockquote",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "dl",
    "dt",
    "dd",
    "input",
    "div",
    "span",
    "br",
    "hr",
    "math",
    "mrow",
    "mi",
    "mo",
    "mn",
    "mtext",
    "mtable",
    "mtr",
    "mtd",
    "mstyle",
    "msup",
    "msub",
}
ATTRIBUTES = {
    "class",
    "href",
    "id",
    "title",
    "type",
    "disabled",
    "xmlns",
    "display",
    "checked",
    "mathvariant",
    "columnalign",
    "displaystyle",
    "rowspacing",
    "columnspacing",
    "stretchy",
    "form",
    "fence",
    "separator",
    "lspace",
    "rspace",
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_strangers_text_holds_no_tag_but_markdowns_and_reads_nothing(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.png").write_bytes(b"secret")
    for name in ("secret.png", "../secret.png", str(tmp_path / "secret.png")):
        headings = []
        html = cell_html(
            v4.new_markdown_cell(text.replace("NAME", name)), None, headings, plain=True
        )
        assert "c2VjcmV0" not in html
        for tag, attributes in tags(html + "".join(words for _, _, words in headings)):
            assert tag in TAGS and {*attributes} <= ATTRIBUTES, html
            assert re.match(r"https?://|mailto:|$", attributes.get("href", "")), html


def test_a_strangers_text_keeps_its_words_its_formulas_and_its_links_to_the_web():
    text = (
        "**a** < b and `c<d>` with $x^2$, [there](https://example.org/a?b=1&c=2), "
        "<https://example.org>\n\n* one"
    )
    html = cell_html(v4.new_markdown_cell(text), None, [], plain=True)
    assert (
        "<strong>a</strong> &lt; b and <code>c&lt;d&gt;</code>" in html
        and "<msup>" in html
        and "<li>one</li>" in html
    )
    assert html.count('<a href="https://example.org') == 2
