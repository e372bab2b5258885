#!/bin/sh
# Renders on Dataflow. Needs gcloud, docker and a bucket. From the repository's root:
#   PROJECT=my-project REGION=europe-west4 BUCKET=gs://my-bucket sh launch/dataflow/run.sh 'super_glue_rte_*'
set -eu
image="$REGION-docker.pkg.dev/$PROJECT/instrux/render:latest"

docker build -f launch/dataflow/Dockerfile -t "$image" .
docker push "$image"

# Without a template: this machine plans the job and waits for it.
instrux render --task "$1" --data_dir "$BUCKET/data" \
    --runner=DataflowRunner --project="$PROJECT" --region="$REGION" \
    --temp_location="$BUCKET/temp" --staging_location="$BUCKET/staging" \
    --sdk_container_image="$image" --sdk_location=container --experiments=use_runner_v2

# With one: anybody with rights to the bucket starts jobs by it.
#   gcloud dataflow flex-template build "$BUCKET/templates/render.json" \
#       --image "$image" --sdk-language PYTHON --metadata-file launch/dataflow/metadata.json
#   gcloud dataflow flex-template run render-1 --region "$REGION" \
#       --template-file-gcs-location "$BUCKET/templates/render.json" \
#       --parameters task="$1",data_dir="$BUCKET/data",sdk_container_image="$image"
