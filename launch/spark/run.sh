#!/bin/sh
# Renders on a Spark cluster. From the repository's root:
#   SPARK=spark://spark.example.org:7077 DATA=gs://bucket/data sh launch/spark/run.sh 'super_glue_rte_*'
# DATA is in an object store; with ENVIRONMENT=PROCESS it may be a folder that this machine and all
# workers mount under the same name (containers mount none, and it is refused). Beam fetches its Spark
# job server (a jar, needs Java 11 or newer) at the first start.
set -eu
instrux render --task "$1" --data_dir "$DATA" \
    --runner=SparkRunner --spark_master_url="$SPARK" \
    --environment_type="${ENVIRONMENT:-DOCKER}" --environment_config="${IMAGE:-}"
