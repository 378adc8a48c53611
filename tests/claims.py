"""Numbers in the pages, held against the rows of results/ that they come from.

A paragraph, a list item or a table says in a comment, which Markdown does not show, where its
numbers are from:

    <!-- from FOLDER: VALUES = WHAT; VALUES = WHAT -->

FOLDER is one in results/, or a JSON file there. VALUES stand in the text as well: `83.4 ± 0.2`, or
`1.2 [0.9, 1.6] ahead`: mean ± standard deviation, or a difference with Welch's 95 % interval and
the verdict after Holm's correction (`not told`: neither). WHAT is one of

    METHOD at 50 %                                the accuracy; METHOD as in the folder's table.md
    METHOD at 50 % minus METHOD [at 0 %]          the difference
    METHOD at 50 % against METHOD                 the accuracy, and the difference's verdict
    METHOD at 50 % with fast_cnn [minus METHOD]   where the folder has several networks
    pruned by METHOD at 50 %                      the share that went, in percent
    COLUMN of METHOD at 50 %                      from the further tables of the manifest
    COLUMN of ROW                                 from a JSON file

and the rest of claimed_rows.WHAT. A table repeats its header in these terms, in the line above it;
`-` is a column that is not checked, `network` one of networks, `row` one of a JSON file's rows:

    <!-- from FOLDER: | pruned | kept | random | dual minus random | -->

A number that looks like a result and is in no such comment fails, unless another comment there
says why it has no row: `<!-- published by SOURCE -->`, `<!-- printed by PRESET -->` (in a notebook,
whose cells print it), `<!-- not a result: REASON -->`.
"""

import re

from claimed_rows import NoRow, measured

from dpkit import METHODS

COMMENT = re.compile(r"<!--\s*(from|published by|printed by|not a result:)\s+(.+?)\s*-->", re.S)
NO_TEXT = re.compile(r"<!--.*?-->|`[^`\n]*`|\$[^$]+\$|\]\([^)]*\)|<[^>\n]+>", re.S)
NUMBER = r"[+−-]?\d*\.?\d+"
IN_LESSONS = rf"({NUMBER}) ± ({NUMBER})|\[({NUMBER}\.\d+), ({NUMBER}\.\d+)\]"
LOOKS = (
    IN_LESSONS + r"|(?<![\d.,])([+−-]?\d+\.\d+)(?= ?%| points)|(?<![\d.,])([+−]?\d\d\.\d)(?![\d.])"
)


def numbers(text: str) -> list[str]:
    """The numbers of a text, without plus signs and the commas of thousands."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    found = re.findall(rf"(?<![\w.]){NUMBER}", re.sub(r"(?<=\d)[–-](?=\d)", " ", text))
    return [one.replace("−", "-").lstrip("+") for one in found]


def blocks(text: str) -> list[tuple[int, str]]:
    """(line, text) of the paragraphs, list items and tables of a page."""
    found: list[tuple[int, str]] = []
    fresh = True
    for line, words in enumerate(text.splitlines(), 1):
        if fresh or re.match(r" *([-*]|\d+\.) ", words):
            found.append((line, words))
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]}\n{words}")
        fresh = not words.strip()
    return found


def compare(folder: str, values: str, what: str, *, whole=False):
    """NoRow unless the rows give these values; whole: a verdict that is not said is none."""
    given, verdict = measured(folder, what)
    found = numbers(values)
    scale = 100 if values.endswith("%") and max(map(abs, given)) <= 1 else 1
    halves = [0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-9 for text in found]
    near = [abs(float(n) - scale * m) <= half for n, m, half in zip(found, given, halves)]
    said = re.search(r"ahead|behind|not told", values)
    if not (found or said) or len(found) > len(given) or not all(near):
        rows = ", ".join(f"{scale * one:.5g}" for one in given)
        raise NoRow(f"the rows of results/{folder} give {rows}, not {values}")
    if (said or whole) and (said[0] if said else "not told") != (verdict or "not told"):
        raise NoRow(f"after Holm's correction it is {verdict or 'not told'}, not {values!r}")


def names_of(head: str) -> tuple:
    """(the method that the head of a column names, its c_D); () if it names none."""
    head = re.split(r" minus | against ", head)[0]
    plain = re.sub(r"[ _-]", "", head.lower().replace("β", "beta"))
    named = [name for name in METHODS if name.replace("_", "") in plain]
    if not named:
        return ()
    method, c_d = max(named, key=len), re.search(r"cd=([\d.]+)", plain)
    return method, float(c_d[1]) if c_d else METHODS[method].options.get("c_d")


def claims(folder: str, text: str, block: str):
    """(values, what, whether it is whole) of a comment, those of a table cell by cell."""
    if not text.startswith("|"):
        for claim in text.split("; "):
            values, _, what = claim.partition(" = ")
            yield values, what, False
        return
    shown, _, *rows = re.findall(r"^ *\|.*", re.sub(r"<!--.*?-->", "", block, flags=re.S), re.M)
    heads, shown, *lines = [
        [one.strip(" `*") for one in line.strip().strip("|").split("|")]
        for line in [text, shown, *rows]
    ]
    for head, seen in zip(heads, shown, strict=False):
        if names_of(seen) and names_of(seen) != names_of(head):
            raise NoRow(f"the column {seen!r} is called {head!r} in the comment")
    for line in lines:
        if len(line) != len(heads):
            raise NoRow(f"the table has {len(line)} columns, and the comment names {len(heads)}")
        said = dict(zip(heads, line, strict=True))
        if "row" in said:
            yield from ((said[head], f"{head} of {said['row']}", False) for head in heads[1:])
            continue
        at = said["pruned"].replace("nothing", "0 %")
        at = f" at {at} with {said['network']}" if "network" in said else f" at {at}"
        methods = [one for one in heads if one not in ("pruned", "kept", "network", "-")]
        for head in (one for one in heads if numbers(said[one]) and one in ("kept", *methods)):
            left, to, right = re.fullmatch(r"(.+?)(?:( minus | against )(.+))?", head).groups("")
            what = f"kept by {methods[0]}" if head == "kept" else left
            yield said[head], f"{what}{at}{to}{right}", bool(to)


def problems(page: str, text: str, looks: str = LOOKS) -> list[str]:
    """What is wrong with the numbers of a page (without its blocks of code), a sentence each."""
    found = []
    for line, block in blocks(text):
        covered: set[str] = set()
        comments = COMMENT.findall(block)
        for kind, words in comments:
            if kind == "from":
                folder, _, said = re.sub(r"\s+", " ", words).partition(": ")
                at = f"{page}, line {line}: <!-- from {folder} -->"
                try:
                    for values, what, whole in claims(folder, said, block):
                        at = f"{page}, line {line}: <!-- from {folder}: {values} = {what} -->"
                        covered.update(numbers(values))
                        if not set(numbers(values)) <= set(numbers(COMMENT.sub("", block))):
                            raise NoRow(f"the text does not say {values}")
                        compare(folder, values, what, whole=whole)
                except ValueError as error:
                    found.append(f"{at}: {error}")
        plain = NO_TEXT.sub(" ", block)
        seen = [n for match in re.findall(looks, plain) for one in match for n in numbers(one)]
        signless = {one.lstrip("-") for one in covered}
        bare = [one for one in dict.fromkeys(seen) if one.lstrip("-") not in signless]
        reasons = ["published by", "not a result:", *["printed by"] * (".ipynb" in page)]
        if bare and not any(kind in reasons for kind, _ in comments):
            found.append(
                f"{page}, line {line}: no comment says from which rows {', '.join(bare)} come; add "
                "<!-- from FOLDER: NUMBER = METHOD at RATIO % --> (see tests/claims.py)"
            )
    return found
