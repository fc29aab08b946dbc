# shellcheck shell=sh
# Sourced by the scripts beside it that try docker-compose.yml out. The cluster is one of its own, with names and
# ports that one which runs already does not have, made from $binary, and gone when the script ends.
# It changes to the repository's root and leaves $scratch, a folder, and the functions below.
cd "$(dirname "$0")/../.."

scratch=$(mktemp -d)
export COMPOSE_PROJECT_NAME=rlaif-check COMPOSE_PROFILES=cpu RLAIF_IMAGE=rlaif:check RLAIF_PORT=17400 RLAIF_PAGE_PORT=17402
export RLAIF_SECRETS="$scratch/secrets" RLAIF_MODELS="$scratch/models" RLAIF_JOBS="$scratch/jobs"
mkdir "$RLAIF_MODELS" "$RLAIF_JOBS"

say() { echo "== $*" >&2; }
fail() { say "FAILED: $*"; exit 1; }
compose() { docker compose --progress quiet "$@"; }
# As a client on this machine does, through the published port.
client() {
    RLAIF_SERVER="https://127.0.0.1:$RLAIF_PORT" RLAIF_CA_FILE="$RLAIF_SECRETS/server_certificate" \
        "$binary" "$@" --token-file "$RLAIF_SECRETS/client_token"
}
# The command line in its container.
tool() { compose run --rm -T rlaif "$@" </dev/null; }
# The image, and what its containers prove themselves with.
image() {
    say "the image, from $binary"
    deploy/docker/prebuilt "$binary" "$RLAIF_IMAGE" >"$scratch/build.log" 2>&1 ||
        { cat "$scratch/build.log" >&2; exit 1; }
    deploy/compose/secrets
}
# /jobs/job.toml, which goes through every stage, with a model that is quick and random: tiny_job PAIRS STEPS TOKENS CHUNK, with responses
# of TOKENS and items of CHUNK pairs.
tiny_job() {
    cp -r tests/golden/tiny-llama tests/golden/tiny-reward "$RLAIF_MODELS"
    for i in $(seq 1 48); do
        echo "{\"prompt\": \"Tell me about $i\"}" >>"$RLAIF_JOBS/prompts.jsonl"
        echo "{\"prompt\": \"What is $i\"}" >>"$RLAIF_JOBS/heldout.jsonl"
    done
    cat >"$RLAIF_JOBS/job.toml" <<JOB
name = "check"
seed = 3
chunk_size = $4
policy = { model = "/var/lib/rlaif/models/tiny-llama", chat = false }
labeler = { model = "/var/lib/rlaif/models/tiny-llama", template = "sentiment/compare" }
lora = { rank = 2 }
data = { prompts = "prompts.jsonl", heldout_prompts = "heldout.jsonl" }
sampling = { max_new_tokens = $3 }
[reward_model]
pairs = $1
epochs = 1
batch_size = 16
optimizer = { lr = 1e-3 }
[rl]
reward = "model"
steps = $2
batch_size = 8
checkpoint_every = 2
reinforce = { policy = { lr = 1e-3 }, value = { lr = 1e-3 } }
JOB
    chmod -R a+rX "$RLAIF_MODELS" "$RLAIF_JOBS"
}
# That a job left what `rlaif run` leaves of the same file, byte for byte: same_as_one_process JOB FILE. All but the hash
# of job.toml, which says where the data lay, and that is another place for a client outside of the containers.
same_as_one_process() {
    client report "$1" --format manifest | grep -v '"job.toml"' >"$scratch/cluster.json"
    rm -rf "$scratch/alone" && mkdir "$scratch/alone" && chmod 777 "$scratch/alone"
    compose run --rm -T --volume "$scratch/alone:/alone" --entrypoint sh rlaif -c \
        "rlaif run /jobs/$2 --out /alone/run >&2 && grep -v '\"job.toml\"' /alone/run/manifest.json" \
        </dev/null >"$scratch/alone.json" 2>"$scratch/alone.log" || { tail "$scratch/alone.log" >&2; exit 1; }
    cmp "$scratch/cluster.json" "$scratch/alone.json" || fail "one process leaves something else"
}
# What a script has besides, and takes away itself.
clean_more() { :; }
clean() {
    status=$?
    trap "" INT TERM
    clean_more
    [ $status -eq 0 ] || docker compose logs --no-color --tail 20 >&2 || true
    compose --profile '*' down --volumes --timeout 5 || true
    docker image rm "$RLAIF_IMAGE" >/dev/null 2>&1 || true
    rm -rf "$scratch"
    exit $status
}
trap clean EXIT
trap 'exit 130' INT TERM
