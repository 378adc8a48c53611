"""A storm of kills, full disks, damages and lost workers over dpkit's commands: is anything lost,
is anything stuck? `make soak MINUTES=60 SEED=7`.

A scenario gives a command, disturbs it, gives the same command again, and holds what it came to
against the same command undisturbed. `commands` are what is given, `faults` what happens to it,
`place` the folders and processes of one scenario, `scenario` plays one and judges it.
"""
