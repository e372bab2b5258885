"""Commands of the pages that no chain runs: why, and which test holds what they do.

`NEEDS` are those that cannot be run by a test of this repository: `tests/test_docs.py` holds their
options and bindings against the parser and gin, and the test that is named does what they do.
`ELSEWHERE` are run by a test of their own from the page's text, with small sizes put behind it.
"""

from dataclasses import dataclass

from tests.docs.pages import ShownCommand


@dataclass(frozen=True)
class Excuse:
    """Why commands are not run.

    Attributes:
        page: their page; "" is any.
        begins: how their lines begin.
        why: the reason.
        held_by: a test that holds what they do, as `path::name`.
        lines: how many lines of the pages it is for: one more is a new command.
    """

    page: str
    begins: str
    why: str
    held_by: str = ""
    lines: int = 1

    def is_of(self, command: ShownCommand) -> bool:
        """Does it excuse a command?"""
        return (not self.page or command.page == self.page) and command.line.startswith(self.begins)


_FIRST = "tests/launch/test_first_minutes.py::"
_SERVERS = "tests/docs/test_servers.py::test_a_server_of_a_page_answers_until_it_is_stopped"
_LAUNCHERS = "tests/launch/test_launchers.py::"
_QUICKSTART = "tests/e2e/test_quickstart_recipe.py::test_the_quickstart_goes_from_words_to_a_report"
_T0_SIZES = "tests/launch/test_shipped_recipes.py::test_t0s_recipes_have_the_papers_numbers"
_HOURS = "a model of paper size: days on a pod"
_CLOUD = "needs a cloud account"
_CLUSTER = "needs a cluster under Slurm"
_CUT_DOWN = "run with small sizes behind it"
_SYNOPSIS = "a synopsis, not a command"

NEEDS = (
    Excuse("README.md", "instrux ", _SYNOPSIS, "tests/test_docs.py::test_a_command_of_a_page_is_one", lines=17),
    Excuse("docs/lineage.md", "instrux ", _SYNOPSIS, "tests/launch/test_lineage.py", lines=2),
    Excuse("docs/audit.md", "instrux pack …", _SYNOPSIS, "tests/pipelines/test_audit.py"),
    Excuse("docs/models.md", "instrux train", _SYNOPSIS, "tests/launch/test_train_adapters.py", lines=2),
    Excuse("docs/labelling.md", "instrux studio label import --db study.db --answers FILE", _SYNOPSIS, "tests/instrux/studio/label/test_exchange.py"),
    Excuse("docs/training.md", "JAX_COORDINATOR_ADDRESS=", _SYNOPSIS, "tests/instrux/training/test_two_processes.py"),
    Excuse("", "make ", "the checks themselves: .ci/run makes the environment, the lint and the tests; tests/test_docs.py the site", lines=11),
    Excuse("docs/launching/dataflow.md", "gcloud", _CLOUD, lines=9),
    Excuse("docs/launching/dataflow.md", "PATH=", _CLOUD, _LAUNCHERS + "test_a_shell_file_is_clean"),
    Excuse("docs/launching/dataflow.md", ".venv/bin/instrux doctor", "needs Google Cloud's package", _FIRST + "test_what_is_needed_decides_the_exit_status"),
    Excuse("", "export ", "sets variables for the lines behind it", lines=5),
    Excuse("docs/launching/gke.md", "xpk", _CLOUD, lines=3),
    Excuse("docs/launching/gke.md", "launch/", _CLOUD, _LAUNCHERS + "test_a_workload_runs_the_arguments_as_they_were_written", lines=4),
    Excuse("docs/launching/tpu_vm.md", "launch/", _CLOUD, _LAUNCHERS + "test_every_vm_gets_the_arguments_as_they_were_written", lines=6),
    Excuse("docs/launching/skypilot.md", "sky", _CLOUD, _LAUNCHERS + "test_the_lines_of_skypilot_start_training", lines=4),
    Excuse("docs/launching/slurm.md", "s", _CLUSTER, _LAUNCHERS + "test_two_processes_of_a_slurm_job_train_as_one", lines=5),
    Excuse("", "tail -f", "does not end", lines=2),
    Excuse("", "git clone", "needs a network", lines=3),
    Excuse("docs/launching/gpu_box.md", "nohup", "needs accelerators", _LAUNCHERS + "test_a_machine_tries_again_where_that_may_help"),
    Excuse("docs/launching/gpu_box.md", ".venv/bin/instrux doctor", "needs an accelerator", _FIRST + "test_what_is_needed_decides_the_exit_status"),
    Excuse("docs/first_minutes.md", "instrux doctor --need", "needs an accelerator", _FIRST + "test_what_is_needed_decides_the_exit_status"),
    Excuse("docs/flan.md", "instrux tasks preview rte_10templates", "rows of TensorFlow Datasets", "tests/tasks/test_flan_tfds.py"),
    Excuse("docs/flan.md", "instrux run flan/leave_one_cluster_out_3b", _HOURS, "tests/launch/test_flan_recipes.py"),
    Excuse("docs/instructgpt.md", "instrux run instructgpt/sft_1_3b", _HOURS, "tests/launch/test_shipped_recipes.py::test_instructgpts_recipes_have_the_papers_numbers"),
    Excuse("docs/reproducing.md", "instrux run t0/t0_3b", _HOURS, _T0_SIZES),
    Excuse("docs/t0.md", "instrux run t0/t0_3b", _HOURS, _T0_SIZES),
    Excuse("docs/tk_instruct.md", "instrux run tk_instruct/tk_instruct_3b", _HOURS, "tests/launch/test_shipped_recipes.py"),
    Excuse("docs/checkpoints.md", "python -c", "a published model of 3B"),
    Excuse("docs/checkpoints.md", "cp T0_3B", "a published model of 3B"),
    Excuse("docs/demonstrations.md", "pip install", "installs"),
    Excuse("docs/demonstrations.md", "python -m spacy", "installs"),
    Excuse("docs/demonstrations.md", "instrux demonstrations --name acme", "needs Presidio and a model of spaCy's", "tests/instrux/data/test_presidio_finder.py"),
    Excuse("docs/t5x_users.md", "pip install", "installs"),
    Excuse("docs/t5x_users.md", "python -m t5x.train", "needs a checkout of T5X"),
    Excuse("docs/reliability.md", "python -m tests.faults.harness", "minutes to hours", "tests/faults/test_harness.py::test_a_seeded_round_finds_no_fault", lines=2),
)  # fmt: skip

ELSEWHERE = (
    Excuse("docs/studio.md", "instrux studio", "serves until it is stopped", _SERVERS, lines=2),
    Excuse("docs/labelling.md", "instrux studio label          --db", "serves until it is stopped", _SERVERS),
    Excuse("docs/adding_a_dataset.md", "instrux ", "run word for word", "tests/launch/test_module_import.py", lines=2),
    Excuse("docs/evaluating_any_model.md", "instrux run report.gin", "needs two evaluations", "tests/launch/test_report.py::test_the_page_s_file_lays_two_evaluations_side_by_side"),
    Excuse("docs/compare.md", "instrux run", _CUT_DOWN, "tests/e2e/test_compare_recipe.py"),
    Excuse("docs/flan.md", "instrux run flan/leave_one_cluster_out_tiny", _CUT_DOWN, "tests/e2e/test_flan_leave_one_out.py"),
    Excuse("docs/instructgpt.md", "instrux run instructgpt/tiny", _CUT_DOWN, "tests/e2e/test_instructgpt_recipe.py"),
    Excuse("docs/labelling.md", "instrux evaluate --labels", "needs a study that was answered", "tests/instrux/studio/label/test_exchange.py::test_the_page_s_command_tells_what_people_said_in_a_study", lines=2),
    Excuse("docs/reproducing.md", "instrux doctor", "needs what was fetched in the cache folder", _FIRST + "test_what_a_reproduction_needs_is_asked_for_as_its_page_does"),
    Excuse("docs/first_minutes.md", ".venv/bin/instrux quickstart", _CUT_DOWN, _QUICKSTART),
    Excuse("docs/tutorial.md", ".venv/bin/instrux quickstart", _CUT_DOWN, _QUICKSTART),
    Excuse("docs/tutorial.md", ".venv/bin/instrux run quickstart", _CUT_DOWN, _QUICKSTART, lines=2),
    Excuse("docs/tutorial.md", ".venv/bin/instrux show", "on what quickstart left", _QUICKSTART),
    Excuse("docs/tutorial.md", ".venv/bin/instrux verify", "on what quickstart left", _QUICKSTART),
)  # fmt: skip

EXCUSES = (*NEEDS, *ELSEWHERE)
