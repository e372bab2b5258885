"""Which evaluation mixtures measure what a training mixture has not seen, by the start of its name."""

from collections.abc import Mapping

EVALUATIONS: Mapping[str, tuple[str, ...]] = {
    "t0": (
        "t0_eval_score_eval",
        "bias_fairness_eval_score_eval",
        "bias_fairness_eval_generation",
    ),
    "p3_sample": (
        "p3_sample_eval_score_eval",
        "p3_sample_bias_score_eval",
        "p3_sample_bias_generation",
    ),
    "tk_instruct": ("tk_instruct_test",),
    "tk_instruct_xlingual": ("tk_instruct_xlingual_test",),
    "lexicon": ("lexicon_heldout_cluster",),
    "compare": ("compare_eval",),
    "compare_tiny": ("compare_tiny_eval",),
}
"""Start of the names of training mixtures -> mixtures of what is held out from them."""


def evaluations_of(mixture: str) -> tuple[str, ...]:
    """Gives the evaluation mixtures of a training mixture; () if none are declared.

    An evaluation mixture has none itself, nor have those on which a checkpoint is chosen.
    """
    name, colon, form = mixture.partition(":")
    if name.startswith("flan_") and name.endswith("_train"):
        return (name.removesuffix("_train") + "_eval" + colon + form,)
    if "eval" in mixture or any(map(mixture.startswith, EVALUATIONS.values())):
        return ()
    fitting = [start for start in EVALUATIONS if mixture.startswith(start)]
    return EVALUATIONS[max(fitting, key=len)] if fitting else ()
