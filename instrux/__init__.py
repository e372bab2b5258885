"""Instrux: instruction tuning from raw datasets to a published results table.

The rooms, and what each may import, stand in docs/architecture.md.
"""

__version__ = "0.1.0"
