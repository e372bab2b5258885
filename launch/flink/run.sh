#!/bin/sh
# Renders on a Flink cluster. From the repository's root:
#   FLINK=flink.example.org:8081 DATA=gs://bucket/data sh launch/flink/run.sh 'super_glue_rte_*'
# DATA is in an object store; with ENVIRONMENT=PROCESS it may be a folder that this machine and all
# workers mount under the same name (containers mount none, and it is refused). Beam fetches its Flink
# job server (a jar, needs Java 11 or newer) at the first start.
set -eu
# LOOPBACK would run the workers here; PROCESS runs them where Instrux is installed beside Flink;
# with DOCKER the image of launch/dataflow/Dockerfile serves.
instrux render --task "$1" --data_dir "$DATA" \
    --runner=FlinkRunner --flink_master="$FLINK" --parallelism="${PARALLELISM:-8}" \
    --environment_type="${ENVIRONMENT:-DOCKER}" --environment_config="${IMAGE:-}"
