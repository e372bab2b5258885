import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.models import losses


def plain(hidden, kernel, targets, weights, z_loss, smoothing):
    """The definition, written out with log_softmax over whole logits."""
    logits = hidden @ kernel
    vocab = logits.shape[-1]
    other = smoothing / (vocab - 1)
    wanted = jax.nn.one_hot(targets, vocab) * (1 - smoothing - other) + other
    cross_entropy = -jnp.sum(wanted * jax.nn.log_softmax(logits), -1)
    entropy = -jnp.sum(jnp.where(wanted > 0, wanted * jnp.log(jnp.maximum(wanted, 1e-30)), 0), -1)
    penalty = z_loss * jax.nn.logsumexp(logits, axis=-1) ** 2
    nll = -jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)[..., 0]
    correct = jnp.argmax(logits, -1) == targets
    return losses.Loss(
        total=jnp.sum(weights * (cross_entropy - entropy + penalty)),
        nll=jnp.sum(weights * nll),
        z_loss=jnp.sum(weights * penalty),
        weight=jnp.sum(weights),
        correct=jnp.sum(weights * correct),
    )


@pytest.fixture(scope="module")
def arrays():
    random = np.random.default_rng(0)
    targets = random.integers(0, 50, (2, 7))
    hidden = random.normal(size=(2, 7, 8)).astype(np.float32)
    kernel = random.normal(size=(8, 50)).astype(np.float32)
    targets[0, :3] = np.argmax(hidden @ kernel, -1)[0, :3]
    weights = random.uniform(0, 2, (2, 7)).astype(np.float32)
    weights[1, 4:] = 0
    return tuple(map(jnp.asarray, (hidden, kernel, targets, weights)))


# 2 rows of 50 float32 logits are 400 bytes: chunks of all 7 positions, of 4 and 3, and of 1.
@pytest.mark.parametrize("chunk_bytes", [1e6, 1700, 400])
@pytest.mark.parametrize(("z_loss", "smoothing"), [(0.0, 0.0), (1e-2, 0.0), (1e-2, 0.1)])
def test_chunks_give_the_plain_loss_and_gradient(arrays, chunk_bytes, z_loss, smoothing):
    hidden, kernel, targets, weights = arrays

    def ours(hidden, kernel):
        return losses.cross_entropy(
            hidden,
            kernel,
            targets,
            weights,
            z_loss=z_loss,
            label_smoothing=smoothing,
            chunk_mib=chunk_bytes / 2**20 / jax.device_count(),
        )

    def reference(hidden, kernel):
        return plain(hidden, kernel, targets, weights, z_loss, smoothing)

    expected = reference(hidden, kernel)
    for name, value in ours(hidden, kernel)._asdict().items():
        np.testing.assert_allclose(value, getattr(expected, name), rtol=1e-5, err_msg=name)
    assert 0 < expected.correct < expected.weight
    gradient = jax.grad(lambda *args: 3.0 * ours(*args).total, argnums=(0, 1))(hidden, kernel)
    wanted = jax.grad(lambda *args: 3.0 * reference(*args).total, argnums=(0, 1))(hidden, kernel)
    for mine, theirs in zip(gradient, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_no_weight_is_no_loss_and_no_nan(arrays):
    hidden, kernel, targets, weights = arrays

    def total(hidden):
        return losses.cross_entropy(hidden, kernel, targets, 0 * weights, z_loss=1e-4)

    assert all(float(value) == 0.0 for value in total(hidden))
    assert (jax.grad(lambda hidden: total(hidden).total)(hidden) == 0.0).all()


def test_uniform_logits_cost_the_log_of_the_vocabulary(arrays):
    hidden, _, targets, weights = arrays
    sums = losses.cross_entropy(hidden, jnp.zeros((8, 50)), targets, weights, z_loss=0.5)
    assert sums.nll / sums.weight == pytest.approx(np.log(50), rel=1e-5)
    assert sums.z_loss / sums.weight == pytest.approx(0.5 * np.log(50) ** 2, rel=1e-5)


def test_whole_logits_are_never_held(model, params, batch):
    small = 4 * 97 * 2 / 2**20 / jax.device_count()  # one position of both rows
    hidden = jnp.ones((2, 512, 32))
    targets = jnp.ones((2, 512), jnp.int32)
    kernel = params["decoder"]["logits_dense"]["kernel"]

    def total(hidden):
        return losses.cross_entropy(
            hidden, kernel, targets, jnp.ones((2, 512)), chunk_mib=8 * small
        ).total

    text = jax.jit(jax.grad(total)).lower(hidden).compile().as_text()
    assert "f32[2,8,97]" in text
    assert "f32[2,512,97]" not in text and "f32[64,2,8,97]" not in text


def test_targets_weigh_one_and_padding_nothing_by_default(model, params, batch):
    without = {name: value for name, value in batch.items() if name != "decoder_loss_weights"}
    sums, defaults = losses.loss(model, params, batch), losses.loss(model, params, without)
    assert float(sums.weight) == 7 + 5
    assert all(a == b for a, b in zip(sums, defaults, strict=True))


def test_log_probabilities_are_those_of_whole_logits(arrays):
    hidden, kernel, targets, _ = arrays
    ours = losses.log_probabilities(
        hidden, kernel, targets, chunk_mib=1700 / 2**20 / jax.device_count()
    )
    whole = jax.nn.log_softmax(hidden @ kernel)
    expected = jnp.take_along_axis(whole, targets[..., None], -1)[..., 0]
    np.testing.assert_allclose(ours, expected, atol=1e-5)
