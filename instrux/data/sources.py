"""Sources of raw rows, under one name.

JsonLinesSource, ParquetSource, CsvSource: files.
HuggingFaceSource, TfdsSource: public datasets, looked for in local mirrors first.
NaturalInstructionsSource: task files of Natural Instructions.
PythonSource: rows that a function computes.
RowRangesSource: splits cut out of another source's by row numbers.
"""

from instrux.data.sources_base import Row, RowShard, RowSource, example_id_prefix
from instrux.data.sources_files import CsvSource, FileSource, JsonLinesSource, ParquetSource
from instrux.data.sources_hub import HuggingFaceSource, TfdsSource
from instrux.data.sources_natural_instructions import NaturalInstructionsSource
from instrux.data.sources_python import PythonSource
from instrux.data.sources_ranges import RowRangesSource

__all__ = [
    "CsvSource",
    "FileSource",
    "HuggingFaceSource",
    "JsonLinesSource",
    "NaturalInstructionsSource",
    "ParquetSource",
    "PythonSource",
    "Row",
    "RowRangesSource",
    "RowShard",
    "RowSource",
    "TfdsSource",
    "example_id_prefix",
]
