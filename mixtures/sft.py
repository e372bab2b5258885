"""Mixtures of demonstrations, for the supervised step of InstructGPT (arXiv 2203.02155).

    sft_{NAME}    the set that `instrux demonstrations --name NAME` prepared

registered when first asked for. Several files are one set, so that near-duplicates and users are
seen across all of them; sets that are to be weighted against each other are members of a mixture of
one's own (docs/demonstrations.md).
"""

from instrux.data import registration
from tasks import demonstrations

registration.add_name_family(
    "sft_{NAME}",
    rf"sft_(?P<name>{demonstrations.NAME})",
    lambda match: registration.add_mixture(match[0], {demonstrations.add(match["name"]): 1}),
)
