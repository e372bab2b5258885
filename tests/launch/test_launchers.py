"""The files that start training elsewhere: linted, held to schemas, and run with stand-ins."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import yaml

from instrux.training.metrics_log import read_metrics

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"
TINY_RUN = ROOT / "tests" / "instrux" / "training" / "tiny_run.py"
SKY = LAUNCH / "skypilot" / "train.yaml"
SHELL_FILES = sorted([*LAUNCH.rglob("*.sh"), *LAUNCH.rglob("*.sbatch"), ROOT / ".ci" / "run"])
ABORTED = 128 + signal.SIGABRT
ARGUMENTS = [
    "--gin_file",
    "runs/sft.gin",
    "--gin.MODEL_DIR='/shared/runs/a b'",
    '--gin.TASK_FEATURE_LENGTHS={"inputs": 1024, "targets": 256}',
]


def linter(name):
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if beside.exists() else None)
    if found is None:
        pytest.skip(f"{name} is not here")
    return found


def stand_in(folder, name, program):
    """A program on PATH that stands in for a cluster's own."""
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{program}\n")
    path.chmod(0o755)
    return path


def run(folder, *command, **variables):
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"} | variables
    return subprocess.run(
        [str(each) for each in command], env=environment, cwd=folder, capture_output=True, text=True
    )


# --- linted --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHELL_FILES, ids=lambda path: path.name)
def test_a_shell_file_is_clean(path):
    done = subprocess.run(
        [linter("shellcheck"), "--shell", "bash", path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("part", ["setup", "run"])
def test_the_shell_lines_in_yaml_are_clean(part):
    lines = yaml.safe_load(SKY.read_text())[part]
    done = subprocess.run(
        [linter("shellcheck"), "--shell", "bash", "--exclude", "SC2155", "-"],
        input=lines,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_container_file_is_clean():
    done = subprocess.run(
        [linter("hadolint"), LAUNCH / "gke" / "Dockerfile"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_container_file_copies_what_an_installation_needs():
    copied = {
        name
        for line in (LAUNCH / "gke" / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for name in line.split()[1:-1]
    }
    assert copied == {
        *("constraints.txt", "pyproject.toml", "README.md", "LICENSE"),
        *("instrux", "tasks", "mixtures", "pipelines", "launch", "gin"),
    }
    assert all((ROOT / name).exists() for name in copied)


# The fields that SkyPilot's reference of its YAML documents, as far as the file uses them.
SKY_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["resources", "setup", "run"],
    "properties": {
        "name": {"type": "string"},
        "workdir": {"type": "string"},
        "num_nodes": {"type": "integer", "minimum": 1},
        "resources": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "accelerators": {"type": "string", "pattern": r"^[\w-]+:\d+$"},
                "use_spot": {"type": "boolean"},
                "disk_size": {"type": "integer"},
                "job_recovery": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "strategy": {"type": "string"},
                        "max_restarts_on_errors": {"type": "integer"},
                        "recover_on_exit_codes": {
                            "type": "array",
                            "items": {"type": "integer", "minimum": 0, "maximum": 255},
                        },
                    },
                },
            },
        },
        "envs": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        "file_mounts": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["source", "mode"],
                "properties": {
                    "source": {"type": "string"},
                    "mode": {"enum": ["MOUNT", "COPY", "MOUNT_CACHED"]},
                },
            },
        },
        "setup": {"type": "string"},
        "run": {"type": "string"},
    },
}


def test_the_skypilot_file_has_documented_fields_only():
    jsonschema.validate(yaml.safe_load(SKY.read_text()), SKY_SCHEMA)


# --- Cloud TPU VMs, with a stand-in for gcloud ----------------------------------------------------

GCLOUD = """
printf '%s\\n' "$*" >> calls
case "$*" in
  *describe*) head -n 1 states; sed -i 1d states ;;
  *" scp "*train.sh*) for each in "$@"; do [ -f "$each" ] && cp "$each" train.sh; done; true ;;
esac
"""
TPU = {
    "PROJECT": "p",
    "ZONE": "z",
    "NAME": "slice",
    "ACCELERATOR": "v5litepod-16",
    "SHARED": "10.0.0.2:/share",
}


def tpu_vm(folder, *arguments, **variables):
    stand_in(folder, "gcloud", GCLOUD)
    stand_in(folder, "sleep", "true")
    script = LAUNCH / "tpu_vm" / "train.sh"
    return run(folder, script, *arguments, **(TPU | variables))


def test_a_slice_is_asked_for_and_waited_for(tmp_path):
    (tmp_path / "states").write_text("WAITING_FOR_RESOURCES\nPROVISIONING\nACTIVE\n")
    done = tpu_vm(tmp_path, "create", SPOT="1")
    assert done.returncode == 0, done.stderr
    first, *others = (tmp_path / "calls").read_text().splitlines()
    assert first.startswith("compute tpus queued-resources create slice --project p --zone z")
    assert "--node-id slice --accelerator-type v5litepod-16" in first
    assert first.endswith("--spot")
    assert len(others) == 3 and all("describe slice" in each for each in others)
    assert "PROVISIONING" in done.stderr


def test_a_request_that_failed_is_told(tmp_path):
    (tmp_path / "states").write_text("WAITING_FOR_RESOURCES\nFAILED\n")
    done = tpu_vm(tmp_path, "create")
    assert done.returncode == 1
    assert "the request is FAILED" in done.stderr


def test_every_vm_gets_the_arguments_as_they_were_written(tmp_path):
    done = tpu_vm(tmp_path, "train", *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert "--worker all" in (tmp_path / "calls").read_text()
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    stand_in(tmp_path / "venv" / "bin", "instrux", "printf '%s\\n' \"$@\" > given")
    assert run(tmp_path, "bash", tmp_path / "train.sh").returncode == 0
    given = (tmp_path / "given").read_text().splitlines()
    assert given == ["train", "--gin.train.train.distributed=True", *ARGUMENTS]
    assert (tmp_path / "train.pid").read_text().strip().isdigit()


@pytest.mark.parametrize("script", ["tpu_vm/train.sh", "gke/train.sh"])
def test_an_unset_name_or_an_unknown_action_ends_the_script(script, tmp_path):
    others = dict.fromkeys(("CLUSTER", "IMAGE", "TPU_TYPE", "STORAGE"), "x")
    done = run(tmp_path, LAUNCH / script, "delete", PROJECT="p")
    assert done.returncode != 0 and "ZONE" in done.stderr
    done = run(tmp_path, LAUNCH / script, "strat", **(TPU | others))
    assert (done.returncode, done.stderr.startswith("usage:")) == (2, True)


# --- GKE, with a stand-in for XPK -----------------------------------------------------------------


def test_a_workload_runs_the_arguments_as_they_were_written(tmp_path):
    stand_in(tmp_path, "xpk", 'printf "%s\\0" "$@" > call')
    variables = {
        **{name: name.lower() for name in ("PROJECT", "ZONE", "CLUSTER", "NAME", "IMAGE")},
        **{"TPU_TYPE": "v5litepod-16", "STORAGE": "shared"},
    }
    done = run(tmp_path, LAUNCH / "gke" / "train.sh", "train", *ARGUMENTS, **variables)
    assert done.returncode == 0, done.stderr
    call = (tmp_path / "call").read_text().split("\0")
    assert call[:2] == ["workload", "create"]
    command = call[call.index("--command") + 1]
    assert shlex.split(command) == [
        *("instrux", "train", "--gin.train.train.distributed=True"),
        *ARGUMENTS,
    ]


# --- SkyPilot: the run's lines, by a shell --------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_lines_of_skypilot_start_training(nodes, tmp_path):
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    program = 'printf "%s\\n" "$@" > given; echo "$JAX_COORDINATOR_ADDRESS $JAX_PROCESS_ID" > who'
    stand_in(tmp_path / "venv" / "bin", "instrux", program)
    lines = yaml.safe_load(SKY.read_text())["run"]
    done = run(
        tmp_path,
        *("bash", "-c", lines),
        HOME=str(tmp_path),
        ARGUMENTS=shlex.join(ARGUMENTS),
        SKYPILOT_NUM_NODES=str(nodes),
        SKYPILOT_NODE_RANK="1",
        SKYPILOT_NODE_IPS="10.0.0.1\n10.0.0.2",
    )
    assert done.returncode == 0, done.stderr
    given = (tmp_path / "given").read_text().splitlines()
    several = ["--gin.train.train.distributed=True"] if nodes > 1 else []
    assert given == ["train", *several, *ARGUMENTS]
    assert (tmp_path / "who").read_text() == ("10.0.0.1:12345 1\n" if nodes > 1 else " \n")


# --- one machine ----------------------------------------------------------------------------------


def gpu_box(folder, program, **variables):
    instrux = stand_in(folder, "instrux", f"echo >> tries; {program}")
    settings = {"INSTRUX": str(instrux), "PAUSE_SECONDS": "0"} | variables
    done = run(folder, LAUNCH / "gpu_box" / "train.sh", *ARGUMENTS, **settings)
    return done.returncode, len((folder / "tries").read_text().splitlines())


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("exit 0", (0, 1)),
        ("exit 2", (2, 1)),  # a mistake in what was given
        ("exit 143", (143, 1)),  # told to stop
        ('[ "$(wc -l < tries)" -ge 3 ] || exit 1', (0, 3)),
        ("kill -KILL $$", (137, 4)),
    ],
)
def test_a_machine_tries_again_where_that_may_help(program, expected, tmp_path):
    assert gpu_box(tmp_path, program, TRIES="4") == expected


def test_a_signal_reaches_the_run_and_the_script_waits_for_its_checkpoint(tmp_path):
    saving = (
        "trap 'sleep 0.3; touch saved; exit 143' TERM; touch started; while :; do sleep 0.05; done"
    )
    instrux = stand_in(tmp_path, "instrux", saving)
    with subprocess.Popen(
        [LAUNCH / "gpu_box" / "train.sh"], env=os.environ | {"INSTRUX": str(instrux)}, cwd=tmp_path
    ) as process:
        until = time.monotonic() + 20
        while not (tmp_path / "started").exists() and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert (tmp_path / "saved").exists()


# --- Slurm ----------------------------------------------------------------------------------------

# Starts two processes as srun would, with the variables that Slurm sets for a step.
SRUN = """
shift  # --kill-on-bad-exit=1
pids=()
for number in 0 1; do
  SLURM_PROCID=$number SLURM_LOCALID=0 SLURM_NTASKS=2 SLURM_STEP_NUM_NODES=2 \\
    SLURM_STEP_NODELIST=127.0.0.1,127.0.0.2 "$@" &
  pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
exit "$status"
"""


def slurm_job_number():
    """One whose port, which JAX takes from the number, is free."""
    for number in range(4096):
        with socket.socket() as taken:
            try:
                taken.bind(("127.0.0.1", number + 65535 - 4095))
            except OSError:
                continue
            return str(number)
    raise AssertionError("no free port")


@pytest.mark.parametrize(("status", "requeued"), [(143, True), (1, False), (0, False)])
def test_a_job_that_was_stopped_is_queued_again(status, requeued, tmp_path):
    stand_in(tmp_path, "srun", f"exit {status}")
    stand_in(tmp_path, "scontrol", 'echo "$*" > scontrol-calls')
    done = run(tmp_path, "bash", LAUNCH / "slurm" / "train.sbatch", SLURM_JOB_ID="77")
    assert done.returncode == status
    calls = tmp_path / "scontrol-calls"
    assert calls.exists() == requeued
    assert not requeued or calls.read_text() == "requeue 77\n"


@pytest.mark.slow
def test_two_processes_of_a_slurm_job_train_as_one(tmp_path):
    write = f"import sys; sys.path.insert(0, {str(TINY_RUN.parent)!r}); import tiny_run, pathlib;"
    write += f"tiny_run.write_packed_set(pathlib.Path({str(tmp_path / 'data')!r}))"
    subprocess.run([sys.executable, "-c", write], check=True, cwd=ROOT)
    stand_in(tmp_path, "srun", SRUN)
    instrux = stand_in(tmp_path, "instrux", f'exec {sys.executable} -m launch.cli "$@"')
    bindings = {
        "MIXTURE_OR_TASK_NAME": "'tiny'",
        "TASK_FEATURE_LENGTHS": "{'inputs': 16, 'targets': 8}",
        "VOCABULARY": "'bytes:5'",
        "NUM_EXAMPLES": 48,
        "DATA_DIR": repr(str(tmp_path / "data")),
        "MODEL_DIR": repr(str(tmp_path / "run")),
        "INITIAL_CHECKPOINT_PATH": None,
        "BATCH_SIZE": 8,
        "TRAIN_STEPS": 2,
        "train.train.log_every_steps": 1,
        "train.train.tensorboard": False,
        "t5.T5Config.emb_dim": 8,
        "t5.T5Config.num_encoder_layers": 1,
        "t5.T5Config.num_decoder_layers": 1,
    }
    # On a busy machine JAX may take one process for dead; the same command then goes on.
    for _ in range(2):
        done = run(
            tmp_path,
            *("bash", LAUNCH / "slurm" / "train.sbatch"),
            *("--gin_file", "runs/finetune.gin", "--gin_file", "models/t5_tiny.gin"),
            *(f"--gin.{name}={value}" for name, value in bindings.items()),
            INSTRUX=str(instrux),
            SLURM_JOB_ID=slurm_job_number(),
            PYTHONPATH=str(ROOT),
            INSTRUX_CACHE=str(tmp_path / "cache"),
        )
        if done.returncode != ABORTED:
            break
    assert done.returncode == 0, done.stderr
    steps = [line["step"] for line in read_metrics(str(tmp_path / "run"))]
    assert steps == [1, 2]  # once: the first process writes, the second one trains with it
    assert json.loads((tmp_path / "run" / "lineage.json").read_text())["counts"]["steps"] == 2
    assert (tmp_path / "run" / "checkpoints" / "2").is_dir()
