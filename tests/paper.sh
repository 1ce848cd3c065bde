#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Starts the plans of examples/paper on checkpoints of the real shape with random weights: --estimate, 20 training
# steps, attribution of 20 prompts. Peak memory must be within 10 % of the estimate, processor time (user and system)
# within 30 % of what is expected of it; wall-clock times are printed.
# Usage: tests/paper.sh BUILD-FOLDER [FAMILY...]    the paper's three unless some are named; pythia-70m is the quick one
# $TMPDIR takes 6 (Pythia), 15 (OLMo) or 6 GB (BLOOM) for one family after the other, and 5 GB for its run; give them on
# a real disk. $PAPER_TOKENS (8192) tokens are run through the models and shuffled together: the plan's 524288 take
# hours on two cores. $PAPER_BATCH (the plan's 4096) is the batch. $PAPER_KEEP keeps the checkpoints and the run in that
# folder. Needs Python 3 and GNU time.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 1 ] || { echo "usage: $0 BUILD-FOLDER [FAMILY...]"; exit 2; }
program=$(cd "$1" && pwd)/crosscoder
shift
[ $# -gt 0 ] || set -- pythia-1b olmo-1b bloom-1b1
for tool in python3 /usr/bin/time; do
  command -v "$tool" >/dev/null || { echo "paper: $tool not found: SKIPPED"; exit 77; }
done
example=$top/examples/tiny-pythia
tokens=${PAPER_TOKENS:-8192}
batch=${PAPER_BATCH:-4096}
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY
work=${PAPER_KEEP:-$(mktemp -d "${TMPDIR:-/tmp}/crosscoder-paper-XXXXXX")}
mkdir -p "$work"
work=$(cd "$work" && pwd)
[ -n "${PAPER_KEEP:-}" ] || trap 'rm -rf "$work"' EXIT
failed=

# STAGE ESTIMATE.json: compares with what /usr/bin/time wrote. The processors' time counts, since other work on the
# machine stretches the other.
compare() {
  python3 - "$1" "$2" "$work/time" <<'END' || failed="$failed $1"
import json, sys
name, estimate, measured = sys.argv[1], json.load(open(sys.argv[2])), open(sys.argv[3]).read().split()
wall, processors, peak = float(measured[0]), float(measured[1]) + float(measured[2]), 1024 * int(measured[3])
memory, seconds, expected = estimate["memory_bytes"], 3600 * estimate["hours"], 3600 * estimate["processor_hours"]
print(f"{name}: memory {memory / 2**30:.2f} GiB expected, {peak / 2**30:.2f} measured, ratio {memory / peak:.3f}; "
      f"processor time {expected:.0f} s expected, {processors:.0f} measured, ratio {expected / processors:.2f}; "
      f"time {seconds:.0f} s expected, {wall:.0f} measured", flush=True)
bad = [] if abs(memory - peak) <= 0.1 * memory else ["memory is not within 10 %"]
bad += [] if abs(expected - processors) <= 0.3 * expected else ["processor time is not within 30 %"]
print("".join(f"{name}: FAILED: {b}\n" for b in bad), end="")
sys.exit(bool(bad))
END
}

measure() { # COMMAND...: under the program; its time and memory
  /usr/bin/time -o "$work/time" -f '%e %U %S %M' nice -n 10 "$program" "$@" >"$work/out" 2>"$work/err" ||
    { cat "$work/err"; exit 1; }
}

for family; do
  for i in 1 2 3; do
    [ -e "$work/$family/$i/tokenizer.json" ] ||
      python3 "$top/tests/make_shape.py" "$family" "$work/$family/$i" "$i" "$example/step2048/tokenizer.json"
  done
  head -n 20 "$example/pairs/en_simple.jsonl" >"$work/prompts.jsonl"
  # The plan with other inputs: its keys that name files and revisions are left out, and a few numbers come behind.
  awk '/^[a-z]/ { skip = /^(checkpoints|tokens-seen|tokenizer|corpus|heldout|max-tokens|tokens|batch-size|task|out):/ }
    !skip' \
    "$top/examples/paper/$family.yaml" >"$work/plan.yaml"
  cat >>"$work/plan.yaml" <<END
checkpoints: {a: "$work/$family/1", b: "$work/$family/2", c: "$work/$family/3"}
corpus: "$example/train.jsonl"
heldout: "$example/heldout.jsonl"
task: "pairs:$work/prompts.jsonl"
max-tokens: $tokens
tokens: $((20 * batch))
batch-size: $batch
log-every: 20
validate-every: 20
validation-batches: 1
save-every: 20
END
  rm -rf "$work/run"
  set -- --config="$work/plan.yaml" --out="$work/run"
  "$program" train "$@" --estimate --json >"$work/train.json"
  measure train "$@"
  compare "$family-train" "$work/train.json"
  "$program" attribute "$work/run" --estimate --json >"$work/attribute.json"
  measure attribute "$work/run"
  compare "$family-attribute" "$work/attribute.json"
  [ -n "${PAPER_KEEP:-}" ] || rm -rf "$work/${family:?}" "$work/run"
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
