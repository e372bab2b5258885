"""Named randomness: every draw of a template is a function of a seed, an example and a template."""

import hashlib
import random


def seeded_rng(seed: int, example_id: str, template: str) -> random.Random:
    """Gives the generator of one template's draws for one example.

    The state depends on the three arguments alone, never on the process, the worker or the order
    of the rows, and is the same on every platform and Python version.

    Args:
        seed: the task's seed.
        example_id: `dataset/config/split/row`.
        template: what tells the template from its siblings, such as its name.
    """
    # Lengths stand before the texts, so that no two triples give the same bytes.
    name = f"{seed}:{len(example_id)}:{example_id}:{template}"
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return random.Random(int.from_bytes(digest, "big"))
