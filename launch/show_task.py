"""`instrux tasks show`: everything that is declared of one task."""

import argparse
import json
from typing import Any

from instrux.data.flan_few_shot_task import FewShotPrompts
from instrux.prompts.flan_defects import DEFECTS, TEMPLATE_DEFECTS, defects_of
from instrux.prompts.flan_prompts import FlanPrompts, FlanPromptsReference
from instrux.prompts.flan_templates import template_key


def show_task(options: argparse.Namespace) -> int:
    """Shows one task; of a twin for rank classification, its plain task."""
    facts = task_facts(options.name)
    if options.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return 0
    for key, value in facts.items():
        if key == "defects":
            _print_defects(value)
        elif key == "templates":
            print("\n".join(f"template {name}:\n{jinja}" for name, jinja in value.items()))
        elif key == "where":
            print(f"where: {', '.join(f'{name} {each}' for name, each in value.items() if each)}")
        else:
            print(f"{key}: {value}")
    return 0


def task_facts(name: str) -> dict[str, Any]:
    """Gathers what is known of a registered task; its template is read, and no data.

    Raises:
        InputError: there is no such task or template.
    """
    import seqio

    from instrux.data import registration
    from instrux.data.task_names import SCORE_EVAL_SUFFIX
    from tasks.licences import licence

    declared = registration.prompted_task(name)
    # Exemplars are rows, which are not looked at here.
    is_few_shot = isinstance(declared.template, FewShotPrompts)
    task = declared if is_few_shot else declared.resolve()
    twin = task.name + SCORE_EVAL_SUFFIX
    return {
        "name": task.name,
        "score_eval": twin if twin in seqio.TaskRegistry.names() else None,
        "dataset": task.source.dataset,
        "config": task.source.config,
        "where": _where(task.source),
        "licence": licence(task.source.dataset, task.source.config),
        "splits": dict(task.splits),
        "cluster": task.cluster,
        "train_examples": task.train_examples,
        "original_task": task.original_task,
        "metrics": list(task.metrics),
        "seed": task.seed,
        "truncate": task.truncate,
        "strip": task.strip,
        **_of_template(declared.template, task.template),
        "defects": _flan_defects(task.name, task.template)
        if isinstance(task.template, FlanPrompts | FewShotPrompts)
        else _defects(declared),
    }


def _of_template(reference: Any, template: Any) -> dict[str, Any]:
    if isinstance(template, FlanPrompts | FewShotPrompts):
        return _of_flan(template)
    metadata = getattr(template, "metadata", None)
    reference = getattr(reference, "reference", reference)  # of a mended one
    return {
        "template": template.name,
        "template_id": getattr(template, "id", None),
        "release": getattr(reference, "release", None),
        "reference": getattr(template, "reference", None),
        "languages": list(getattr(metadata, "languages", ())),
        "choices_in_prompt": getattr(metadata, "choices_in_prompt", None),
        "draws": getattr(template, "draws", None),
        "answer_choices": getattr(template, "answer_choices", None),
        "fixed_answer_choices": getattr(template, "fixed_answer_choices", None),
        "jinja": getattr(template, "jinja", None),
    }


def _of_flan(prompts: Any) -> dict[str, Any]:
    shots = getattr(prompts, "shots", 0)
    prompts = getattr(prompts, "prompts", prompts)
    if isinstance(prompts, FlanPromptsReference):
        prompts = prompts.resolve()
    chosen = prompts.form.chosen(prompts.templates)
    if prompts.only is not None:
        chosen = (prompts.templates[prompts.only],)
    return {
        "template": prompts.name,
        "options": prompts.form.options,
        "wrapper": f"{prompts.form.wrapper.before}…{prompts.form.wrapper.after}",
        "exemplars": shots,
        "as_released": list(prompts.as_released),
        "templates": {each.name: each.jinja for each in chosen},
    }


def _where(source: Any) -> dict[str, Any]:
    location = getattr(source, "location", None)
    fields = {name: getattr(location, name, None) for name in ("repository", "config", "revision")}
    return {"kind": type(source).__name__, **fields}


def _defects(task: Any) -> list[dict[str, Any]]:
    from tasks.t0_defects import defects_of_task, is_mended

    return [
        {
            "key": defect.key,
            "wrong": defect.wrong,
            "source": defect.source,
            "mend": defect.mend,
            "mended": defect.mended_when_read or (is_mended(task) and bool(defect.mends)),
            "mended_form": f"{task.name}_mended" if defect.mends and not is_mended(task) else None,
        }
        for defect in defects_of_task(task)
    ]


def _flan_defects(name: str, prompts: Any) -> list[dict[str, Any]]:
    """What the released code does to the dataset otherwise; mended unless asked for."""
    prompts = getattr(prompts, "prompts", prompts)
    made = []
    for defect in defects_of(template_key(prompts.dataset)):
        mended = defect.name in TEMPLATE_DEFECTS or defect.name not in prompts.as_released
        if defect.name in TEMPLATE_DEFECTS:
            released_form = "instrux fetch flan-templates --as_released"
        elif defect.name in DEFECTS and mended:
            released_form = f"{name}:as_released"
        else:
            released_form = None
        made.append(
            {
                "key": defect.name,
                "wrong": f"the released code {defect.released}",
                "source": defect.known_from,
                "mend": defect.mended,
                "mended": mended,
                "mended_form": None if mended else name.replace(":as_released", ""),
                "released_form": released_form,
            }
        )
    return made


def _print_defects(defects: list[dict[str, Any]]) -> None:
    if not defects:
        print("defects: none known")
        return
    for defect in defects:
        state = "mended here" if defect["mended"] else "kept"
        print(f"defect ({state}): {defect['wrong']} [{defect['key']}; {defect['source']}]")
        form = f" ({defect['mended_form']})" if defect["mended_form"] else ""
        print(f"  mend{form}: {defect['mend']}")
        if released := defect.get("released_form"):
            print(f"  to have it back: {released}")
