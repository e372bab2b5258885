#!/usr/bin/env bash
# Trains on one machine with one or several GPUs, and goes on by itself after a fault of the machine.
# docs/launching/gpu_box.md tells the whole way.
#
#   nohup launch/gpu_box/train.sh --gin_file … --gin.… > screen 2>&1 &
#
# May be set:   INSTRUX (the command; .venv/bin/instrux), TRIES (5), PAUSE_SECONDS (30).
set -uo pipefail

INSTRUX=${INSTRUX:-.venv/bin/instrux}
TRIES=${TRIES:-5}
PAUSE_SECONDS=${PAUSE_SECONDS:-30}
USAGE=2 INTERRUPTED=130 STOPPED=143

# One process sees all GPUs: nothing has to be told how many there are. A signal to this script goes to
# the run, which writes a checkpoint.
child=
forward() { [ -z "$child" ] || kill -TERM "$child" 2> /dev/null; }
trap forward TERM INT

for ((try = 1; ; try++)); do
  "$INSTRUX" train "$@" &
  child=$!
  # `wait` comes back when a signal is forwarded, too; the second one waits for the checkpoint.
  wait "$child"
  status=$?
  if kill -0 "$child" 2> /dev/null; then
    wait "$child"
    status=$?
  fi
  case $status in
    # Complete, a mistake in what was given, or told to stop: to try again would change nothing.
    0 | "$USAGE" | "$INTERRUPTED" | "$STOPPED") exit "$status" ;;
  esac
  if [ "$try" -ge "$TRIES" ]; then
    echo "train.sh: status $status after $try tries; giving up" >&2
    exit "$status"
  fi
  echo "train.sh: status $status, try $try of $TRIES; goes on from the last checkpoint" >&2
  sleep "$PAUSE_SECONDS"
done
