#!/usr/bin/env bash
# Trains on TPU slices of GKE with XPK (pip install xpk). Run it from a checkout;
# docs/launching/gke.md tells the whole way.
#
#   launch/gke/train.sh image                        build and push the container
#   launch/gke/train.sh train --gin_file … --gin.…   start `instrux train`; its arguments follow
#   launch/gke/train.sh follow | stop
#
# Must be set:  PROJECT, ZONE, CLUSTER (made by `xpk cluster create`), NAME (of the workload), IMAGE
#               (in a registry that the cluster reads), TPU_TYPE (v5litepod-16, …), STORAGE (a
#               Filestore attached by `xpk storage create`, mounted where DATA_DIR and MODEL_DIR are).
# May be set:   SLICES (1), RESTARTS (3; how often a workload that was taken back starts again).
set -euo pipefail

: "${PROJECT:?}" "${ZONE:?}" "${CLUSTER:?}" "${NAME:?}" "${IMAGE:?}" "${TPU_TYPE:?}" "${STORAGE:?}"
SLICES=${SLICES:-1}
RESTARTS=${RESTARTS:-3}
place=(--project "$PROJECT" --zone "$ZONE" --cluster "$CLUSTER")

image() {
  docker build -f launch/gke/Dockerfile --build-arg EXTRA=tpu -t "$IMAGE" .
  docker push "$IMAGE"
}

# XPK starts the command on every host of every slice; JAX finds its peers by what GKE sets. A
# workload that starts again goes on from its newest checkpoint.
train() {
  local arguments
  printf -v arguments ' %q' "$@"
  xpk workload create "${place[@]}" --workload "$NAME" --docker-image "$IMAGE" \
    --tpu-type "$TPU_TYPE" --num-slices "$SLICES" --max-restarts "$RESTARTS" --storage "$STORAGE" \
    --command "instrux train --gin.train.train.distributed=True$arguments"
}

follow() {
  kubectl logs -f -l "jobset.sigs.k8s.io/jobset-name=$NAME" --max-log-requests 100
}

# The pods get SIGTERM: a checkpoint is written between two steps, if the grace period lasts.
stop() {
  xpk workload delete "${place[@]}" --workload "$NAME"
}

what=${1:-}
case $what in
  image | train | follow | stop) "$what" "${@:2}" ;;
  *)
    echo "usage: $0 image | train ARGUMENTS | follow | stop" >&2
    exit 2
    ;;
esac
