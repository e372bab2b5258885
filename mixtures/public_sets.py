"""InstructGPT's public sets as mixtures to evaluate; nobody trains on them.

public_bias_eval         CrowS-Pairs and Winogender, three prompts each
public_toxicity_eval     RealToxicityPrompts, three prompts
public_truthful_qa_eval  TruthfulQA, three prompts, generated and as multiple choice
public_few_shot_eval     the zero- and few-shot sets
public_eval              all of these
"""

from instrux.data import registration
from tasks import public_sets

_MEMBERS = {
    "public_bias_eval": ("bias",),
    "public_toxicity_eval": ("toxicity",),
    "public_truthful_qa_eval": ("truthfulness",),
    "public_few_shot_eval": ("zero- and few-shot",),
    "public_eval": ("bias", "toxicity", "truthfulness", "zero- and few-shot"),
}


def _register() -> None:
    tasks = public_sets.tasks()
    for name, clusters in _MEMBERS.items():
        members = [task.name for task in tasks if task.cluster in clusters]
        registration.add_mixture(name, dict.fromkeys(members, 1))


_register()
