#!/usr/bin/env bash
# Trains on a slice of Cloud TPU VMs that is asked for as a queued resource. Run it from a checkout, on
# a machine with gcloud; docs/launching/tpu_vm.md tells the whole way.
#
#   launch/tpu_vm/train.sh create                     ask for the slice, wait until it is there
#   launch/tpu_vm/train.sh setup                      this checkout and the shared folder on every VM
#   launch/tpu_vm/train.sh train --gin_file … --gin.… start `instrux train`; its arguments follow
#   launch/tpu_vm/train.sh follow | stop | delete
#
# Must be set:  PROJECT, ZONE, NAME (of slice and request), ACCELERATOR (v5litepod-16, v6e-32, …),
#               SHARED (an NFS export, such as that of a Filestore: 10.0.0.2:/share).
# May be set:   RUNTIME (the image; v2-alpha-tpuv5-lite is that of v5e), SPOT=1 for a slice that may
#               be taken back.
# shellcheck disable=SC2016  # what stands in single quotes is for the VMs' own shells
set -euo pipefail

: "${PROJECT:?}" "${ZONE:?}" "${NAME:?}" "${ACCELERATOR:?}" "${SHARED:?}"
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}
SPOT=${SPOT:-}
WAIT_SECONDS=30
place=(--project "$PROJECT" --zone "$ZONE")

# One command on every VM of the slice. Training needs all of them: each has a part of the devices.
on_all() {
  gcloud compute tpus tpu-vm ssh "$NAME" "${place[@]}" --worker all --command "$1"
}

state() {
  gcloud compute tpus queued-resources describe "$NAME" "${place[@]}" --format 'value(state.state)'
}

create() {
  gcloud compute tpus queued-resources create "$NAME" "${place[@]}" --node-id "$NAME" \
    --accelerator-type "$ACCELERATOR" --runtime-version "$RUNTIME" ${SPOT:+--spot}
  local now
  while now=$(state) && [ "$now" != ACTIVE ]; do
    case $now in
      FAILED | SUSPENDED)
        echo "the request is $now; \`$0 delete\` and ask again" >&2
        exit 1
        ;;
    esac
    echo "$(date -u +%H:%M) $now" >&2
    sleep "$WAIT_SECONDS"
  done
}

setup() {
  local archive
  archive=$(mktemp --suffix .tar.gz)
  git archive --prefix instrux/ -o "$archive" HEAD
  gcloud compute tpus tpu-vm scp "$archive" "$NAME:instrux.tar.gz" "${place[@]}" --worker all
  rm -f "$archive"
  # MODEL_DIR and DATA_DIR have to be one folder for all processes; a checkpoint ends with a rename,
  # which NFS does as a local disk would, and a bucket does not.
  on_all "
    set -e
    sudo apt-get -qq update && sudo apt-get -qq install -y nfs-common python3-venv
    sudo mkdir -p /shared && (mountpoint -q /shared || sudo mount -t nfs $SHARED /shared)
    tar xzf instrux.tar.gz
    python3 -m venv venv
    venv/bin/pip install -q -c instrux/constraints.txt -e 'instrux[tpu]'
    venv/bin/instrux doctor --offline --need accelerator
  "
}

train() {
  # A script of its own on every VM: arguments of gin are full of quotes, and this keeps them whole.
  local script
  script=$(mktemp --suffix .sh)
  {
    echo 'echo $$ > train.pid'
    printf 'exec venv/bin/instrux train --gin.train.train.distributed=True'
    printf ' %q' "$@"
    echo
  } > "$script"
  gcloud compute tpus tpu-vm scp "$script" "$NAME:train.sh" "${place[@]}" --worker all
  rm -f "$script"
  # `nohup`, so that it goes on when the connection ends.
  on_all 'mkdir -p /shared/screens
    nohup bash train.sh > "/shared/screens/$(hostname)" 2>&1 < /dev/null &'
}

follow() {
  gcloud compute tpus tpu-vm ssh "$NAME" "${place[@]}" --worker 0 \
    --command 'tail -n 20 -F "/shared/screens/$(hostname)"'
}

# SIGTERM to each: a checkpoint is written between two steps, and all exit with 143.
stop() {
  on_all 'kill "$(cat train.pid)"'
}

delete() {
  gcloud compute tpus queued-resources delete "$NAME" "${place[@]}" --force --quiet
}

what=${1:-}
case $what in
  create | setup | train | follow | stop | delete) "$what" "${@:2}" ;;
  *)
    echo "usage: $0 create | setup | train ARGUMENTS | follow | stop | delete" >&2
    exit 2
    ;;
esac
