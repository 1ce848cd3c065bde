# Speed against dense PyTorch: `make bench/train_step`, then bench/train_step.py.
EXTRA_PROGRAMS += bench/train_step
bench_train_step_SOURCES = bench/train_step.c
bench_train_step_LDADD = $(LAYERS_COMPUTE) $(XCODER_LIBS)
EXTRA_DIST += bench/train_step.py
CLEANFILES += bench/train_step

# Speed of forward passes against transformers: `make bench/forward`, then bench/forward.py.
EXTRA_PROGRAMS += bench/forward
bench_forward_SOURCES = bench/forward.c
bench_forward_LDADD = $(LAYERS_MODEL) $(XCODER_LIBS)
EXTRA_DIST += bench/forward.py
CLEANFILES += bench/forward

# Tokenizing against the Hugging Face tokenizers library: bench/tokenize_speed.py.
EXTRA_DIST += bench/tokenize_speed.py

# Attribution: speed against the authors' procedure, agreement with exact patching.
EXTRA_DIST += bench/attribution.py bench/attribution_methods.py

# OpenCL kernels as compiled for an A100, and what to run where there is a GPU.
EXTRA_DIST += bench/kernels.sh bench/kernels.txt bench/bounds.awk bench/nvptx_prelude.h bench/gpu.sh bench/rounding.sh
