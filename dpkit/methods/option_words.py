"""Options of a method in words."""


def options_in_words(options: dict) -> str:
    """Options as a line of text, in the order of their names: "c_d=5.5 window=10"."""
    return " ".join(option_words(options))


def option_words(options: dict) -> list[str]:
    """The same as a list: ["c_d=5.5", "window=10"]."""
    return [
        f"{name}={value:g}" if type(value) in (int, float) else f"{name}={value}"
        for name, value in sorted(options.items())
    ]
