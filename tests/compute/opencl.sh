#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The conformance tests of the crosscoder and the transformer, the golden models, and effects against torch, on the
# first OpenCL device that opens, and every way that products can go: our own kernel, CLBlast, tensor cores as an
# emulation of their instruction. 77 (skipped) where there is no device.
here=${builddir:-.}
: "${POCL_CACHE_DIR:=$here/test-cache}" "${XDG_CACHE_HOME:=$here/test-cache}"
mkdir -p "$POCL_CACHE_DIR" "$XDG_CACHE_HOME"
POCL_CACHE_DIR=$(cd "$POCL_CACHE_DIR" && pwd) XDG_CACHE_HOME=$(cd "$XDG_CACHE_HOME" && pwd)
export POCL_CACHE_DIR XDG_CACHE_HOME
if ! "$here/crosscoder" devices --self-test --device=opencl >"$here/opencl-test.tmp" 2>&1; then
  if grep -q 'no OpenCL backend\|no platform' "$here/opencl-test.tmp"; then
    echo "skipped: $(cat "$here/opencl-test.tmp")"
    rm -f "$here/opencl-test.tmp"
    exit 77
  fi
  cat "$here/opencl-test.tmp"
  exit 1
fi
cat "$here/opencl-test.tmp"
rm -f "$here/opencl-test.tmp"
status=0
for test in compute/test_coder compute/test_coder_properties compute/test_batch_topk compute/test_jump \
  compute/test_conformance_block model/test_golden analysis/test_attribution; do
  CK_DEFAULT_TIMEOUT=900 XCODER_TEST_DEVICE=opencl "$here/tests/$test" || status=1
done
# Weights that do not fit on the device: few rows, or panels of few latents, at a time.
for test in compute/test_coder compute/test_batch_topk compute/test_jump; do
  CK_DEFAULT_TIMEOUT=900 XCODER_OPENCL_PANEL=400 XCODER_TEST_DEVICE=opencl "$here/tests/$test" || status=1
done
for test in compute/test_conformance_block model/test_golden; do
  XCODER_OPENCL_PANEL=100 XCODER_TEST_DEVICE=opencl "$here/tests/$test" || status=1
done
for way in own clblast emulated emulated3; do
  XCODER_OPENCL_GEMM=$way "$here/tests/compute/test_opencl_gemm" >"$here/opencl-test.tmp" 2>&1 || status=1
  cat "$here/opencl-test.tmp"
  case $way in # what was asked for is what was tested
    own) words='own kernel' ;;
    clblast) words='CLBlast\|own kernel' ;; # a build may be without it
    emulated) words='tensor cores, emulated, attention too' ;;
    emulated3) words='tensor cores, three products, emulated, attention too' ;;
  esac
  grep -q "products by \($words\)" "$here/opencl-test.tmp" || { echo "FAIL: products not by $way"; status=1; }
done
rm -f "$here/opencl-test.tmp"
for test in test_coder test_conformance_block; do
  CK_DEFAULT_TIMEOUT=900 XCODER_OPENCL_GEMM=emulated XCODER_TEST_DEVICE=opencl "$here/tests/compute/$test" || status=1
done
# A damaged file of the cache is built anew.
for file in "$XDG_CACHE_HOME"/crosscoder/opencl-*.bin; do
  [ -f "$file" ] || { echo "no kernels in $XDG_CACHE_HOME"; status=1; continue; }
  printf 'damaged' | dd of="$file" bs=1 seek=100 conv=notrunc 2>/dev/null
done
"$here/crosscoder" devices --self-test --device=opencl || status=1
exit $status
