"""Faults made on purpose, by the thousand: `python -m tests.faults.harness`.

What must hold of every trial: no wrong output that looks complete, no hang, no code run, no row
lost without a count, and a message of one line that names the file.
"""
