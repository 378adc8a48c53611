"""The stages' versions: which results of before still count."""

# Bump a stage's version when what it leaves changes (also in CHANGELOG.md): older results are then
# left unused.
VERSIONS = {"record": 2, "score": 1, "select": 1, "retrain": 1}
# earlier versions whose numbers are today's: 1 lacked the final snapshot and the divergence
COMPATIBLE_VERSIONS = {("record", 1)}


def has_current_numbers(versions: dict) -> bool:
    """Whether stages of these versions have the numbers that today's would have."""
    return all(
        number == versions.get(stage) or (stage, versions.get(stage)) in COMPATIBLE_VERSIONS
        for stage, number in VERSIONS.items()
    )
