#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: tests/opencl-plan.sh BUILD-FOLDER: the whole bundled plan with --device=opencl. The processor then
# attributes, ablates and evaluates the same crosscoder: every verdict must be the same, and the reports must have the
# same headings. $PLAN_OPTIONS are further options of the run, to shorten it. 77 where there is no device. Takes long
# on PoCL.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
[ $# -eq 1 ] || { echo "usage: $0 BUILD-FOLDER"; exit 2; }
program=$(cd "$1" && pwd)/crosscoder
work=$(mktemp -d "${TMPDIR:-/tmp}/crosscoder-plan-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
POCL_CACHE_DIR=${POCL_CACHE_DIR:-$work/pocl} XDG_CACHE_HOME=${XDG_CACHE_HOME:-$work/cache} OMP_WAIT_POLICY=passive
export POCL_CACHE_DIR XDG_CACHE_HOME OMP_WAIT_POLICY
mkdir -p "$POCL_CACHE_DIR" "$XDG_CACHE_HOME"
if ! "$program" devices --self-test --device=opencl >self-test 2>&1; then
  cat self-test
  grep -q 'no OpenCL backend\|no platform' self-test || exit 1
  echo "opencl-plan: skipped: no device"
  exit 77
fi

# The verdicts of a run, as "true|false STAGE NAME".
verdicts() {
  for file in "$1"/effects/*.json "$1"/ablation/*.json "$1"/eval.json; do
    sed -n "s|^ *{\"name\": \"\([^\"]*\)\", \"pass\": \([a-z]*\),.*|\2 ${file#"$1"/} \1|p" "$file"
  done
}
headings() { grep -o '<h[1-4][^>]*>[^<]*' "$1/report/index.html"; }

"$program" run "$top/examples/tiny-pythia/plan.yaml" --out=opencl --device=opencl --quiet \
  ${PLAN_OPTIONS:-} >out 2>&1 || { tail -n 5 out; exit 1; }
cp -R opencl cpu
rm -rf cpu/effects cpu/ablation cpu/eval.* cpu/report cpu/stages/attribute-* cpu/stages/ablate-* cpu/stages/eval.json
for command in attribute ablate eval report; do
  "$program" $command cpu --quiet >out 2>&1 || { tail -n 5 out; exit 1; }
done
verdicts opencl >verdicts-opencl
verdicts cpu >verdicts-cpu
headings opencl >headings-opencl
headings cpu >headings-cpu
failed=0
[ -s verdicts-cpu ] && [ -s headings-cpu ] || { echo "opencl-plan: no verdicts or no report"; exit 1; }
diff verdicts-cpu verdicts-opencl || failed=1
diff headings-cpu headings-opencl || failed=1
echo "opencl-plan: $(grep -c '' verdicts-cpu) verdicts, $(grep -c '^true' verdicts-cpu) pass," \
  "$(grep -c '' headings-cpu) headings"
[ $failed -eq 0 ] || { echo "opencl-plan: FAIL: device and processor differ"; exit 1; }
