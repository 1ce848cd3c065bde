/* SPDX-License-Identifier: Apache-2.0 */
/* First of the kernels' files, which are joined into one program: sizes of groups, sums of fixed shape.
 * OpenCL C 1.2, no extensions, no float atomics. Every kernel runs in groups of GROUP x 1 items. */
#define GROUP 256
#define TEAM 32
#define TEAMS (GROUP / TEAM)
/* The group's number in y: drivers may take at most 65535 in a launch, so the host starts more in several. */
#define GROUP_Y ((uint)(get_group_id(1) + get_global_offset(1)))
#define KERNEL kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void

/* Sum over a group; every item gets it. shared: [GROUP]. */
float group_sum(float x, local float *shared) {
  uint id = get_local_id(0);
  shared[id] = x;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint half_size = GROUP / 2; half_size > 0; half_size /= 2) {
    if (id < half_size) shared[id] += shared[id + half_size];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  float sum = shared[0];
  barrier(CLK_LOCAL_MEM_FENCE);
  return sum;
}

float group_max(float x, local float *shared) {
  uint id = get_local_id(0);
  shared[id] = x;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint half_size = GROUP / 2; half_size > 0; half_size /= 2) {
    if (id < half_size) shared[id] = fmax(shared[id], shared[id + half_size]);
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  float largest = shared[0];
  barrier(CLK_LOCAL_MEM_FENCE);
  return largest;
}

uint group_count(uint x, local uint *shared) {
  uint id = get_local_id(0);
  shared[id] = x;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint half_size = GROUP / 2; half_size > 0; half_size /= 2) {
    if (id < half_size) shared[id] += shared[id + half_size];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  uint sum = shared[0];
  barrier(CLK_LOCAL_MEM_FENCE);
  return sum;
}

/* Sum over the items before this one; *total over all. */
uint group_scan(uint x, local uint *shared, uint *total) {
  uint id = get_local_id(0);
  shared[id] = x;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint step = 1; step < GROUP; step *= 2) {
    uint add = id >= step ? shared[id - step] : 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    shared[id] += add;
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  uint before = shared[id] - x;
  *total = shared[GROUP - 1];
  barrier(CLK_LOCAL_MEM_FENCE);
  return before;
}

/* Sums over each team of a group; every item gets its team's. All teams must call it. */
float team_sum(float x, local float *shared) {
  uint id = get_local_id(0), lane = id % TEAM;
  shared[id] = x;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint half_size = TEAM / 2; half_size > 0; half_size /= 2) {
    if (lane < half_size) shared[id] += shared[id + half_size];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  float sum = shared[id - lane];
  barrier(CLK_LOCAL_MEM_FENCE);
  return sum;
}

/* The nearest bfloat16, ties to even; NaN stays NaN. */
uint bf16_bits(float x) {
  uint bits = as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return bits >> 16 | 64;
  return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}

/* Numbers of a matrix as they lie in the file; as xci_cl_type. Pointers to half need no extension, arithmetic would. */
#define TYPE_F32 0
#define TYPE_F16 1
#define TYPE_BF16 2
float value_of(global const uchar *w, uint type, size_t i) {
  if (type == TYPE_F16) return vload_half(i, (global const half *)w);
  if (type == TYPE_BF16) return as_float((uint)((global const ushort *)w)[i] << 16);
  return ((global const float *)w)[i];
}
