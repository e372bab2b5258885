"""Adapters to PEFT's layout and back, and what transformers computes with them."""

import dataclasses
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.models import adapters
from instrux.models.decoder_only import DecoderConfig
from instrux.models.families import model_of
from instrux.models.t5 import T5Config
from instrux.training.checkpoints import load_params, save_run
from instrux.training.run_folder import RunDescription
from launch import cli, foreign
from launch.convert import convert
from launch.convert_adapters import convert_adapters

SIZES = {"vocab_size": 264, "emb_dim": 8, "num_heads": 2, "head_dim": 4, "mlp_dim": 12}
T5 = T5Config(**SIZES, num_encoder_layers=2, num_decoder_layers=2)
GPT_2 = DecoderConfig(**SIZES, num_layers=2, max_positions=64, bos_id=258)
LLAMA = dataclasses.replace(
    GPT_2,
    positions="rotary",
    norm="rms",
    use_bias=False,
    mlp_activations=("silu", "linear"),
    logits_via_embedding=False,
    num_kv_heads=1,
)
EVERYTHING = {"lora_rank": 3, "lora_alpha": 6.0, "lora_targets": ".*/kernel"}
# Kind -> base, adapters, and the modules that PEFT's settings are to name.
KINDS = {
    "t5": (T5, EVERYTHING, ["k", "o", "q", "v", "wi_0", "wi_1", "wo"]),
    "gpt2": (GPT_2, {"lora_rank": 2}, ["c_attn"]),
    "gpt2 all": (GPT_2, EVERYTHING, ["c_attn", "c_fc", "c_proj"]),
    "llama": (LLAMA, {"lora_rank": 2, "lora_alpha": 5.0}, ["q_proj", "v_proj"]),
    "t5 prompt": (T5, {"prompt_length": 3}, None),
    "gpt2 prompt": (GPT_2, {"prompt_length": 3}, None),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A run of adapters beside a Hugging Face folder, and its folder of PEFT's."""

    config: T5Config | DecoderConfig
    params: dict
    modules: list | None
    base: str
    run: str
    peft: str


@pytest.fixture(scope="module")
def base_of(tmp_path_factory):
    """Makes a base's parameters, vocabulary and Hugging Face folder, once each."""

    @functools.cache
    def make(config):
        folder = tmp_path_factory.mktemp("base")
        merges = folder / "merges.txt"
        merges.write_text("#version: 0.2\nĠ t\nh e\n", encoding="utf-8")
        vocabulary = VocabularySpec.parse("bytes:5" if config is T5 else str(merges))
        params = disturbed(jax.jit(model_of(config).init)(jax.random.key(0)), seed=1)
        lengths = {"inputs_length": 8, "targets_length": 4}
        whole = RunDescription.of(config, vocabulary, **lengths)
        save_run(folder / "whole", whole, params, step=3)
        convert(("instrux", str(folder / "whole")), ("hf", str(folder / "hf")))
        return params, dataclasses.replace(whole, base=str(folder / "hf"))

    return make


@pytest.fixture(params=KINDS, scope="module")
def case(request, tmp_path_factory, base_of):
    base, changes, modules = KINDS[request.param]
    folder = tmp_path_factory.mktemp("adapters")
    base_params, description = base_of(base)
    config = dataclasses.replace(base, **changes)
    drawn = jax.eval_shape(model_of(config).init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), drawn)
    own = disturbed(adapters.adapter_params(zeros), seed=2)
    save_run(folder / "run", dataclasses.replace(description, model=config), own, step=7)
    convert_adapters(("instrux", str(folder / "run")), ("peft", str(folder / "peft")))
    paths = (description.base, str(folder / "run"), str(folder / "peft"))
    return Case(config, adapters.joined(base_params, own), modules, *paths)


def disturbed(params, *, seed):
    """Parameters of which none is zero, as trained ones are."""
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: leaf + 0.3 * random.standard_normal(leaf.shape, np.float32), params
    )


TOKENS = np.random.default_rng(0).integers(1, 180, (2, 9)).astype(np.int32)
TARGETS = np.pad(TOKENS[:, ::-1][:, :5], ((0, 0), (1, 0)))


def our_logits(case):
    model, prompt = model_of(case.config), adapters.prompt_ids(case.config)
    rows = [np.tile(prompt, (2, 1)).astype(np.int32), TOKENS]
    if isinstance(case.config, DecoderConfig):
        fed = np.concatenate([np.full((2, 1), case.config.bos_id, np.int32), *rows], axis=1)
        hidden = jax.jit(model.decode)(case.params, jnp.asarray(fed))
        return model.logits(case.params, hidden)[:, 1 + len(prompt) :]
    fed = jnp.asarray(np.concatenate(rows, axis=1))
    hidden = model.decode(case.params, model.encode(case.params, fed), fed, jnp.asarray(TARGETS))
    return model.logits(case.params, hidden)


def peer_logits(case, model, embeddings=None):
    """Logits of a model of transformers, for whose inputs embeddings may stand in front."""
    import torch

    tokens = torch.from_numpy(TOKENS).long()
    if (
        isinstance(case.config, DecoderConfig)
        and embeddings is None
        and not case.config.prompt_length
    ):
        tokens = torch.nn.functional.pad(tokens, (1, 0), value=case.config.bos_id)
    given = {"input_ids": tokens}
    if embeddings is not None:
        own = model.get_input_embeddings()(tokens)
        given = {"inputs_embeds": torch.cat([embeddings[None].expand(2, -1, -1), own], dim=1)}
    if not isinstance(case.config, DecoderConfig):
        given["decoder_input_ids"] = torch.from_numpy(TARGETS).long()
    with torch.no_grad():
        logits = model(**given).logits.numpy()
    return logits if not isinstance(case.config, DecoderConfig) else logits[:, -TOKENS.shape[1] :]


def without_exchanged(case, logits):
    """Our id 0 pads, and is another row in GPT-2's folders."""
    return np.delete(np.asarray(logits), [0, 187], axis=-1) if case.config.vocab_size else logits


@pytest.fixture
def base_model(case):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    family = "CausalLM" if isinstance(case.config, DecoderConfig) else "Seq2SeqLM"
    return getattr(transformers, f"AutoModelFor{family}").from_pretrained(case.base).eval()


@pytest.mark.peers
def test_transformers_computes_the_same_with_the_factors_or_the_prompt(case, base_model):
    import torch

    tensors = {
        name: torch.from_numpy(one)
        for name, one in load_file(f"{case.peft}/adapter_model.safetensors").items()
    }
    settings = json.loads(open(f"{case.peft}/adapter_config.json").read())
    if case.config.prompt_length:
        theirs = peer_logits(case, base_model, tensors["prompt_embeddings"])
    else:
        before = peer_logits(case, base_model)
        # W + alpha / r * B A, as arXiv 2106.09685, section 4.1 has it.
        for name in [name for name in tensors if name.endswith("lora_A.weight")]:
            module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            first, second = tensors[name], tensors[name.replace("lora_A", "lora_B")]
            alphas = settings["alpha_pattern"]
            alpha = alphas.get(module.rpartition(".")[2], settings["lora_alpha"])
            added = alpha / len(first) * (second @ first)
            weight = base_model.get_submodule(module).weight
            weight.data += added.T if settings["fan_in_fan_out"] else added
        theirs = peer_logits(case, base_model)
        assert np.abs(theirs - before).max() > 0.01
        assert settings["target_modules"] == case.modules
    np.testing.assert_allclose(
        without_exchanged(case, our_logits(case)), without_exchanged(case, theirs), atol=1e-4
    )


@pytest.mark.peers
def test_peft_itself_computes_the_same(case, base_model):
    peft = pytest.importorskip("peft")
    model = peft.PeftModel.from_pretrained(base_model, case.peft).eval()
    ours = without_exchanged(case, our_logits(case))
    np.testing.assert_allclose(ours, without_exchanged(case, peer_logits(case, model)), atol=1e-4)


def test_a_way_there_and_back_loses_no_bit(case, tmp_path):
    back = ("instrux", str(tmp_path / "back"))
    vocabulary = RunDescription.read(case.run).vocabulary  # Llama's folder has none
    made = convert_adapters(("peft", case.peft), back, vocabulary=vocabulary)
    assert made.config.prompt_length == case.config.prompt_length
    model = model_of(made.config)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
        adapters.adapter_params(shapes),
    )
    read = load_params(tmp_path / "back", shapes).params
    if case.modules is None or "c_attn" not in case.modules:
        ours = adapters.adapter_params(case.params)
        jax.tree.map(np.testing.assert_array_equal, read, ours)
    # Where there are others, factors of GPT-2's queries, keys and values come back as one of a higher rank.
    joined = adapters.joined(adapters.base_params(case.params), read)
    again = dataclasses.replace(case, config=made.config, params=joined)
    np.testing.assert_allclose(our_logits(again), our_logits(case), atol=1e-5)
    if len(case.modules or []) == 3:
        return  # all kernels have that rank now, and so other shapes there
    convert_adapters(back, ("peft", str(tmp_path / "again")))
    for name, tensor in load_file(tmp_path / "again" / "adapter_model.safetensors").items():
        stored = load_file(f"{case.peft}/adapter_model.safetensors")[name]
        np.testing.assert_array_equal(tensor, stored, err_msg=name)


@pytest.mark.parametrize("case", ["t5"], indirect=True)
def test_what_does_not_fit_is_told_in_a_line(case, tmp_path, capsys):
    def refused(told, *, base=None, change=None, tensors=None):
        folder = tmp_path / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(case.peft, folder)
        settings = json.loads((folder / "adapter_config.json").read_text()) | (change or {})
        (folder / "adapter_config.json").write_text(json.dumps(settings))
        if tensors is not None:
            stored = load_file(folder / "adapter_model.safetensors")
            save_file(tensors(stored), folder / "adapter_model.safetensors")
        arguments = ["--from", "peft", str(folder), "--to", "instrux", str(tmp_path / "out")]
        arguments += [] if base is None else ["--base", base]
        capsys.readouterr()
        assert cli.main(["convert", *arguments]) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1
        assert not (tmp_path / "out").exists()

    refused("use_dora is True", change={"use_dora": True})
    refused("peft_type is 'IA3'", change={"peft_type": "IA3"})
    refused("does not lie here; give its checkpoint", change={"base_model_name_or_path": "org/t5"})
    refused("no such file", base="/nowhere")
    refused("belongs to no kernel", tensors=lambda stored: {**stored, "x": np.zeros(2, np.float32)})
    refused("name their own base", tensors=lambda s: {name: t[:, :1] for name, t in s.items()})
    with pytest.raises(InputError, match="holds no adapters"):
        convert_adapters(("instrux", f"{case.base}/../whole"), ("peft", str(tmp_path / "out")))
    with pytest.raises(InputError, match="from hf to peft"):
        convert_adapters(("hf", case.base), ("peft", str(tmp_path / "out")))
    with pytest.raises(InputError, match="adapters in PEFT's layout, without their base"):
        foreign.kind_of(case.peft)
