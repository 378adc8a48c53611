"""The stages' versions: which results of before still count."""

# Bump a stage's version when what it leaves changes (also in CHANGELOG.md): older results are then
# left unused.
VERSIONS = {"record": 2, "score": 1, "select": 1, "retrain": 1}
# earlier versions whose numbers are today's: 1 lacked the final snapshot and the divergence
COMPATIBLE_VERSIONS = {("record", 1)}


def versions_text() -> str:
    """The stages' versions for a row: "record 2 score 1 select 1 retrain 1"."""
    return " ".join(f"{stage} {number}" for stage, number in VERSIONS.items())


def has_current_numbers(worded: str) -> bool:
    """Whether stages of these versions have the numbers that today's would have."""
    words = worded.split()
    found = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    return all(
        number == found.get(stage) or (stage, found.get(stage)) in COMPATIBLE_VERSIONS
        for stage, number in VERSIONS.items()
    )
