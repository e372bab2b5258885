"""What is printed, and what is not, when a checkpoint cannot be read."""

import sys
from types import SimpleNamespace

import pytest

from instrux.data.vocabularies import VocabularySpec
from instrux.training import checkpoint_checks
from instrux.training.checkpoint_checks import CheckpointError
from instrux.training.checkpoints import save_run
from instrux.training.run_folder import RunDescription
from instrux.training.streamed_params import StreamedParams
from tests.tiny_t5 import drawn, tiny_t5


@pytest.fixture
def told(monkeypatch):
    """What reaches the hook that was there before."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    checkpoint_checks.silence_late_reads.cache_clear()
    yield told
    checkpoint_checks.silence_late_reads.cache_clear()


def test_reads_that_end_after_one_failed_are_silent_and_all_else_is_told(told):
    checkpoint_checks.silence_late_reads()
    late, other = (
        SimpleNamespace(exc_value=RuntimeError(text)) for text in ("Event loop is closed", "else")
    )
    sys.unraisablehook(late)
    sys.unraisablehook(other)
    assert told == [other]


def test_a_checkpoint_whose_names_cannot_be_read_is_damaged(tmp_path, told):
    config, vocabulary = tiny_t5(vocab_size=259), VocabularySpec.parse("bytes")
    description = RunDescription.of(config, vocabulary, inputs_length=8, targets_length=8)
    save_run(tmp_path, description, drawn(config), step=2)
    for path in (tmp_path / "checkpoints" / "2" / "params").rglob("d/*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x55
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoints/2: the checkpoint is damaged \(.*step"):
        params = StreamedParams(tmp_path, 2)
        for name in params.shapes:
            params.read(name)
