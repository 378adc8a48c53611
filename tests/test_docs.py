"""What the README and docs/ say is true: their Python runs, their commands exist, their links
lead somewhere.

A ```python block that cannot run here has a line above it: `<!-- not run: the reason -->`. It is
compiled all the same.
"""

import re
import shlex
import types
from pathlib import Path

import pytest
from local_workers import in_this_process

import dpkit
from dpkit import cli
from dpkit.cli import assignments, export, fetch, grade, lessons, prune, report, study, sweep
from dpkit.experiments.export_formats import FORMATS
from dpkit.methods.catalog import METHODS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDES = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, *GUIDES]
ALL = [
    *PAGES,
    ROOT / "CONTRIBUTING.md",
    ROOT / "results" / "README.md",
    ROOT / "notebooks" / "assignments" / "README.md",
]
NOT_RUN = re.compile(r"<!-- not run: (\w.*) -->")


def name_of(page):
    return str(page.relative_to(ROOT))


class Block(types.SimpleNamespace):
    """A fenced block: language, code, line (of its first line in the page), reason not to run."""


def blocks(text) -> list[Block]:
    """The fenced blocks of a page, in order. ValueError for a fence that is not closed."""
    found, opened, lines = [], None, text.splitlines()
    for number, line in enumerate(lines, 1):
        fence = re.match(r"( *)```(\w*)\s*$", line)
        if fence and opened is None:
            reason = NOT_RUN.fullmatch(lines[number - 2]) if number > 1 else None
            opened = Block(
                language=fence[2], line=number + 1, code="", reason=reason[1] if reason else ""
            )
        elif fence:
            found.append(opened)
            opened = None
        elif opened:
            opened.code += line + "\n"
    if opened:
        raise ValueError(f"the block in line {opened.line - 1} is not closed")
    return found


def prose(text) -> str:
    """A page without its fenced blocks; as many lines as before."""
    lines, inside = [], False
    for line in text.splitlines():
        fence = line.lstrip().startswith("```")
        lines.append("" if fence or inside else line)
        inside ^= fence
    return "\n".join(lines)


def read(page) -> str:
    return page.read_text(encoding="utf-8")


def python_blocks(page) -> list[Block]:
    return [block for block in blocks(read(page)) if block.language == "python"]


def compiled(page, block):
    """Its code, with the page's line numbers, so that an error names the line."""
    return compile("\n" * (block.line - 1) + block.code, str(page), "exec")


# ---- Python --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def as_a_reader(tmp_path, monkeypatch, shared_cache):
    """An empty folder to work in, with results/ as in the repository, and one worker in this
    process for sweeps: that workers are processes of their own is the subject of test_sweeps.py.
    """
    from dpkit.experiments import clusters

    monkeypatch.setattr(clusters, "connected", lambda *client, **options: in_this_process())
    monkeypatch.setenv("DPKIT_CACHE", str(shared_cache))  # the pages watch the same small training
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(not block.reason for block in python_blocks(page))],
    ids=name_of,
)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, as_a_reader):
    names = {"__name__": f"page_{page.stem.replace('-', '_')}"}
    for block in python_blocks(page):
        if not block.reason:
            exec(compiled(page, block), names)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_that_is_not_run_compiles(page):
    for block in python_blocks(page):
        compiled(page, block)
        assert block.reason or "not run" not in block.code


def test_the_python_that_is_not_run_is_run_elsewhere_or_needs_what_is_not_here():
    reasons = [block.reason for page in PAGES for block in python_blocks(page) if block.reason]
    for reason in reasons:
        test = re.match(r".*(tests/\w+\.py)", reason)
        assert reason.startswith("needs ") or test, reason
        assert test is None or (ROOT / test[1]).is_file(), reason


def test_a_page_that_is_wrong_fails():
    page = (
        "text\n```python\na = 1\n```\n\n<!-- not run: needs two GPUs -->\n```python\nb = (\n```\n"
    )
    first, second = blocks(page)
    assert (first.code, first.line, first.reason) == ("a = 1\n", 3, "")
    assert (second.line, second.reason) == (8, "needs two GPUs")
    with pytest.raises(SyntaxError) as error:
        compiled("page", second)
    assert error.value.lineno == 8
    with pytest.raises(ValueError, match="line 1 is not closed"):
        blocks("```python\na = 1\n")
    assert prose(page).split() == ["text", "<!--", "not", "run:", "needs", "two", "GPUs", "-->"]


class Rows:
    """As much of a Hugging Face dataset as record.md uses."""

    def __init__(self, pixels, labels):
        self.pixels, self.labels = pixels, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, at):
        if at == "label":
            return iter(self.labels.tolist())  # a column: not a list, and not an array
        return {"pixel_values": self.pixels[at], "label": self.labels[at].item()}

    def select(self, rows):
        return Rows(self.pixels[rows.tolist()], self.labels[rows.tolist()])


def test_a_hugging_face_dataset_is_recorded_and_pruned_as_record_md_says():
    import torch

    page = ROOT / "docs" / "record.md"
    (block,) = [block for block in python_blocks(page) if "stand-ins" in block.reason]
    pixels, labels = torch.randn(40, 3, 4, 4), torch.arange(40) % 4
    layer = torch.nn.Linear(48, 4)

    def model(pixel_values, labels):
        logits = layer(pixel_values.flatten(1))
        loss = torch.nn.functional.cross_entropy(logits, labels)
        return types.SimpleNamespace(loss=loss, logits=logits)

    names = {
        "dpkit": dpkit,
        "DataLoader": torch.utils.data.DataLoader,
        "dataset": Rows(pixels, labels),
        "model": model,
        "optimizer": torch.optim.SGD(layer.parameters(), lr=0.1),
        "epochs": 12,
    }
    exec(compiled(page, block), names)
    assert names["dynamics"].labels.tolist() == labels.tolist()
    assert names["pruned"].labels.tolist() == labels.numpy()[names["selection"].kept].tolist()
    assert len(names["pruned"]) == 20


# ---- commands ------------------------------------------------------------------------------------


def commands(code) -> list[list[str]]:
    """The commands of a block, in words, without comments and prompts."""
    lines = code.replace("\\\n", " ").splitlines()
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [line for line in words if line]


def shown_files() -> set[str]:
    """Files that a page shows: `# grid.yaml` in the first line of a block."""
    firsts = [block.code.split("\n")[0] for page in PAGES for block in blocks(read(page))]
    return {found[1] for first in firsts if (found := re.match(r"# (\w+\.\w+)", first))}


def parsed(words):
    """The arguments of a dpkit command, read by its own parser; nothing is run."""
    seen, kept = [], {}
    for command in (lessons, prune, study, export, sweep, fetch, report, assignments, grade):
        kept[command] = command.run
        command.run = lambda arguments: seen.append(arguments) or 0
    try:
        cli.main(words)
    except SystemExit:
        return None
    finally:
        for command, run in kept.items():
            command.run = run
    return seen[0] if seen else None


def why_not_dpkit(words) -> str | None:
    arguments = parsed(words[1:])
    if words[-1] == "--help" and len(words) == 3:
        return None if hasattr(cli, words[1]) else "?"
    if arguments is None:
        return "dpkit's parser refuses it"
    if words[1] == "report":
        from dpkit.reports import notebooks, parameters

        given = {name: parameters.Text(value) for name, value in arguments.parameters}
        try:
            path = ROOT / arguments.notebook
            path = path if path.is_file() else notebooks.find(arguments.notebook)
            parameters.parameters_for(path, arguments.preset, given)
        except (parameters.Refused, OSError) as error:
            return str(error)
    if words[1] == "prune":
        from dpkit.nets.builders import MODELS

        method = arguments.method or "dual+beta"
        if method not in METHODS or arguments.model not in MODELS:
            return "no such method or network"
        try:
            METHODS[method].check(dict(arguments.settings), 10_000, 10, prune_ratio=arguments.ratio)
        except ValueError as error:
            return str(error)
    if words[1] == "export" and arguments.format not in FORMATS:
        return "no such format"
    if words[1] == "sweep" and arguments.grid not in shown_files():
        return f"no page shows {arguments.grid}"
    return None


def why_not_make(words) -> str | None:
    makefile = read(ROOT / "Makefile")
    for word in words[1:]:
        name, is_setting, value = word.partition("=")
        pattern = rf"^{name} +\?=" if is_setting else rf"^{name}:.*##"
        if not re.search(pattern, makefile, re.MULTILINE):
            return f"the Makefile has no {word}"
        if name == "PRESET" and not (ROOT / "notebooks" / "presets" / f"{value}.yaml").is_file():
            return f"there is no preset {value}"
    return None


def why_not_export(words) -> str | None:
    import dask
    import distributed  # noqa: F401 - it brings its defaults

    name = words[1].split("=")[0]
    if not name.startswith("DASK_"):
        return f"{name} is not known here"
    key = name.removeprefix("DASK_").lower().replace("__", ".").replace("_", "-")
    missing = object()
    return f"dask has no setting {key}" if dask.config.get(key, missing) is missing else None


def why_not(words) -> str | None:
    """What is wrong with a command, in words; None: nothing."""
    head = words[0]
    if head in ("dpkit", ".venv/bin/dpkit"):
        return why_not_dpkit(words)
    if head == "make":
        return why_not_make(words)
    if head == "export":
        return why_not_export(words)
    if words[:3] == ["python", "-m", "benchmarks"]:
        from benchmarks.__main__ import NAMES

        unknown = set(words[3:]) - {*NAMES, "--save"}
        return f"no benchmark {', '.join(sorted(unknown))}" if unknown else None
    if words[:3] == ["python", "-m", "benchmarks.gpu_session"]:
        from benchmarks.gpu_session import make_parser

        try:
            make_parser().parse_args(words[3:])
        except SystemExit:
            return "the session's parser refuses it"
        return None
    if head == "torchrun":
        return None if words[-1] in shown_files() else f"no page shows {words[-1]}"
    if words[:4] == ["conda", "env", "create", "-f"] or head.startswith(".ci/"):
        return None if (ROOT / words[-1]).is_file() else f"there is no {words[-1]}"
    return "the test does not know this command"


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_commands_of_a_page_exist(page):
    wrong = {}
    for block in blocks(read(page)):
        if block.language in ("sh", "bash", "console"):
            for words in commands(block.code):
                reason = why_not(words)
                if reason:
                    wrong[shlex.join(words)] = reason
    assert not wrong


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_commands_in_the_text_exist(page):
    found = re.findall(r"`((?:\.venv/bin/)?dpkit\s+\w[^`]*|make\s+[^`]+)`", prose(read(page)))
    wrong = {}
    for text in found:
        words = shlex.split(text)
        whole = words[0] == "make" or words[1] == "report" or words[-1] == "--help"
        if whole and "<name>" not in text:
            reason = why_not(words)
        else:
            reason = None if hasattr(cli, words[1]) else f"dpkit has no command {words[1]}"
        if reason:
            wrong[text] = reason
    assert not wrong


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("dpkit prune photos --ratio 0.5 --out x --metod ccs", "parser refuses"),
        ("dpkit prune photos --out x", "parser refuses"),
        ("dpkit prune photos --ratio 0.5 --out x --method css", "no such method"),
        (
            "dpkit prune photos --ratio 0.5 --out x --method ccs --set window=3",
            "takes the settings",
        ),
        ("dpkit export pruned fodler", "no such format"),
        ("dpkit sweep other.yaml", "no page shows other.yaml"),
        ("dpkit report notebooks/09_none.ipynb", "09_none"),
        ("dpkit report notebooks/02_dual_score.ipynb --preset none", "none"),
        ("dpkit report notebooks/02_dual_score.ipynb -p widow 3", "widow"),
        ("dpkit prunes --help", "?"),
        ("make raport", "no raport"),
        ("make report PRESETS=smoke", "no PRESETS=smoke"),
        ("make report PRESET=smok", "no preset smok"),
        ("export DASK_DISTRIBUTED__COMM__TLS__CA=ca.pem", "no setting distributed.comm.tls.ca"),
        ("python -m benchmarks sweep", "no benchmark sweep"),
        ("python -m benchmarks.gpu_session soon", "the session's parser refuses it"),
        ("torchrun --nproc-per-node 2 trains.py", "no page shows trains.py"),
        ("conda env create -f env.yml", "no env.yml"),
        ("pip install everything", "does not know"),
    ],
)
def test_a_command_that_is_wrong_fails(line, reason, capsys):
    assert reason in str(why_not(shlex.split(line)))


def test_the_grids_that_are_shown_are_grids():
    import yaml

    from dpkit.experiments import grids

    page = read(ROOT / "docs" / "sweep.md")
    shown = [yaml.safe_load(one.code) for one in blocks(page) if one.language == "yaml"]
    trials, of_photos = map(grids.trials_of, shown)
    assert len(trials) == (5 * 5 + 1) * 3  # five methods at five ratios, and the whole set once
    assert {trial.retrain.batch_size for trial in trials if trial.prune_ratio == 0.9} == {32}
    assert len(of_photos) == (2 * 2 + 1) * 3
    assert {(trial.dataset, trial.test, trial.size) for trial in of_photos} == {("photos", 0.2, 64)}


# ---- links ---------------------------------------------------------------------------------------


def anchors(text) -> set[str]:
    """The anchors of a page's headings, as GitHub names them."""
    found = []
    for line in prose(text).splitlines():
        heading = re.match(r"#{1,6} +(.+?) *$", line)
        if heading:
            plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1])
            anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            found.append(f"{anchor}-{found.count(anchor)}" if anchor in found else anchor)
    return set(found)


def links(text) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "``", prose(text))
    return re.findall(r"\]\(([^)\s]+)\)", text)


def broken(page, text) -> list[str]:
    """The relative links of a page that lead nowhere."""
    found = []
    for link in links(text):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        file = (page.parent / path).resolve() if path else page
        there = file.exists() and file.is_relative_to(ROOT)
        if there and anchor:
            there = file.suffix == ".md" and anchor in anchors(text if file == page else read(file))
        if not there:
            found.append(link)
    return found


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_links_lead_somewhere(page):
    assert links(read(page)) or page.parent.name == "results"
    assert broken(page, read(page)) == []


def test_a_link_that_leads_nowhere_fails():
    text = "\n".join(
        [
            "# The one: `a` & b",
            "[a](#the-one-a--b) [b](#the-two) [c](LICENSE) [d](LICENCE) [e](docs/results.md#dual)",
            "`[f](nothing.md)` [g](https://example.org) [h](../outside.md) ![i](none.png)",
            "```python",
            "# [j](nothing.md)",
            "```",
        ]
    )
    nowhere = ["#the-two", "LICENCE", "docs/results.md#dual", "../outside.md", "none.png"]
    assert broken(README, text) == nowhere


def test_every_guide_is_in_the_index_and_in_the_readme():
    names = {page.name for page in GUIDES} - {"README.md"}
    assert names == {link for link in links(read(ROOT / "docs" / "README.md")) if "/" not in link}
    for name in names:
        assert f"docs/{name}" in links(read(README))


# ---- what the pages say of the kit ---------------------------------------------------------------


def names_in_first_column(text, heading) -> list[str]:
    rows = text.split(f"\n{heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", rows, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "prune.md"], ids=name_of)
def test_the_table_of_methods_has_every_method_once(page):
    assert sorted(names_in_first_column(read(page), "## Methods")) == sorted(METHODS)


def test_every_network_is_named():
    from dpkit.nets.builders import MODELS

    text = read(ROOT / "docs" / "prune.md").split("## Networks")[1].split("A network of your")[0]
    assert sorted(re.findall(r"`([^`]+)`", text)) == sorted(MODELS)


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "results.md"], ids=name_of)
def test_the_main_table_is_the_published_one(page):
    published = read(ROOT / "results" / "dual-cifar10-small_cnn" / "table.md")
    rows = re.findall(r"^\| (?:nothing|\d+ %) \| .*$", published, re.MULTILINE)[:6]
    assert len(rows) == 6 and all(f"\n{row}\n" in read(page) for row in rows)


# ---- size ----------------------------------------------------------------------------------------


def test_the_readme_is_short():
    lines = read(README).splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("page", [*GUIDES, ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_lines_are_short_except_rows_of_tables(page):
    long = [line for line in read(page).splitlines() if len(line) > 100]
    assert [line for line in long if not line.startswith("|")] == []
