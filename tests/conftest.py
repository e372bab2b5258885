"""What every test shares: quiet libraries, the CPU, and where the development data lies."""

import importlib.metadata
import itertools
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["JAX_PLATFORMS"] = "cpu"
# Most of the suite's time would go into compiling programs that run for milliseconds: nothing is
# optimised, and XLA's older emitters of fused loops, which jaxlib 0.10 still has, take half the time
# of its new ones. The quickstart's test takes the new ones, as users do.
_FLAGS = [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=0"]
if importlib.metadata.version("jaxlib").startswith("0.10."):  # an unknown flag ends the process
    _FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join(_FLAGS)
# A developer's own mirror or vocabulary must not decide what a test sees.
for _name in ("INSTRUX_MIRROR", "INSTRUX_VOCABULARY"):
    os.environ.pop(_name, None)


@pytest.fixture(scope="module", autouse=True)
def _nothing_stays_in_the_process():
    """Takes back what a command that was run in this process leaves there.

    That is the mirror and the vocabulary in the environment, and the tasks that were registered
    with them, which a later file of tests may want with others.
    """
    before = [dict(registry._REGISTRY) for registry in _seqio_registries()]
    yield
    for name in ("INSTRUX_MIRROR", "INSTRUX_VOCABULARY"):
        os.environ.pop(name, None)
    for registry, names in itertools.zip_longest(_seqio_registries(), before, fillvalue={}):
        registry._REGISTRY = dict(names)


def _seqio_registries() -> list[type]:
    """SeqIO's registries of tasks and mixtures; none before something has imported SeqIO."""
    seqio = sys.modules.get("seqio")
    return [seqio.TaskRegistry, seqio.MixtureRegistry] if seqio else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first, so that no worker begins with one when all others have ended.

    How long a file takes is told by its slow tests, then by how many it has. For this, `make test`
    keeps pytest-xdist from an order of its own.
    """
    tests = Counter(item.path for item in items)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow[item.path], -tests[item.path], item.path))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real development data beside the checkout; skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the development data is not here")
    return folder


_SENTENCES = (
    "Is it so? yes, it is so. no, it is not. Stop!",
    "a question and an answer to the question, 0 1 2 3 4",
)


@pytest.fixture(scope="session")
def unigram_tokenizer():
    """A small Unigram model as T5's: 0 pads, 1 ends, 2 is unknown; and two sentinels after the pieces."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.Unigram())
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.decoder = tokenizers.decoders.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=48,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    made.train_from_iterator(_SENTENCES * 3, trainer)
    made.add_special_tokens(["<extra_id_1>", "<extra_id_0>"])
    return made


@pytest.fixture(scope="session")
def llama_3_tokenizer():
    """Byte-level pairs as Llama 3's, whole words first: 256 bytes, 24 merges, then four special tokens."""
    tokenizers = pytest.importorskip("tokenizers")
    before = tokenizers.pre_tokenizers
    made = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=True))
    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    made.pre_tokenizer = before.Sequence(
        [
            before.Split(tokenizers.Regex(words), "isolated"),
            before.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=280, initial_alphabet=before.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(_SENTENCES * 3, trainer)
    made.add_special_tokens(
        ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|eot_id|>"]
    )
    return made
