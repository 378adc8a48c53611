"""Assignments: one source notebook -> the students' copy, the tutorial, and marks out of reach.

    handouts     what is given out, made by nbgrader from the source
    grading      a folder of submissions -> grades.csv, feedback pages, a summary
    marker       one submission: test cells run here, in a process that the student's code never
                 enters
    worker       the student's cells run there, in a sandbox; it answers calls from the marker's
                 test cells

What student code can still see, by design: its own cells; the visible tests, which stand in the
student's copy; the arguments of every call, those of hidden tests too; Python, the installed
packages and dpkit itself (so `return dpkit.dual(...)` works, and assignments ask for variants that
the library does not have). It cannot see the hidden tests' code or what they expect, the source
folder, other submissions, the teacher's files or the network, and what it prints during a test goes
nowhere. A message of its own exception does come back in the feedback, cut to one short line.
"""
