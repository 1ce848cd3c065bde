/* SPDX-License-Identifier: Apache-2.0 */
/* What cl/ uses of OpenCL C, for compiling it to PTX with clang alone (bench/kernels.sh). Never part of the program. */
typedef unsigned int uint;
typedef unsigned long ulong;
typedef unsigned long size_t;
typedef float float2 __attribute__((ext_vector_type(2)));
#define CLK_LOCAL_MEM_FENCE 1
#define barrier(flags) __nvvm_bar_sync(0)
#define get_local_id(d) ((size_t)__nvvm_read_ptx_sreg_tid_x())
#define group_x() __nvvm_read_ptx_sreg_ctaid_x()
#define group_y() __nvvm_read_ptx_sreg_ctaid_y()
#define get_group_id(d) ((size_t)((d) == 0 ? group_x() : group_y()))
#define get_num_groups(d) ((size_t)((d) == 0 ? __nvvm_read_ptx_sreg_nctaid_x() : __nvvm_read_ptx_sreg_nctaid_y()))
#define get_global_offset(d) __nvvm_read_ptx_sreg_nctaid_z() /* as dear: the driver keeps it in such a register */
#define get_global_id(d) (get_group_id(0) * 256 + get_local_id(0))
typedef float float4 __attribute__((ext_vector_type(4)));
typedef unsigned int uint2 __attribute__((ext_vector_type(2)));
typedef unsigned int uint4 __attribute__((ext_vector_type(4)));
#define as_float(x) __builtin_astype((x), float)
#define as_uint(x) __builtin_astype((x), uint)
#define sqrt(x) __nvvm_sqrt_rn_f(x)
#define fmax(x, y) __nvvm_fmax_f(x, y)
#define fmin(x, y) __nvvm_fmin_f(x, y)
#define min(x, y) ((x) < (y) ? (x) : (y))
#define atomic_inc(p) __sync_fetch_and_add((p), 1u)
#define atomic_add(p, n) __sync_fetch_and_add((p), (n))
#define bool _Bool
#define asm __asm__ /* clang knows the word only with the GNU extensions, NVIDIA always */
/* Functions of OpenCL's library have no body here: those below cost about as many instructions and registers. */
typedef unsigned char uchar;
typedef unsigned short ushort;
#define UINT_MAX 0xffffffffu
#define INFINITY __builtin_inff()
static inline float exp(float x) { return __nvvm_ex2_approx_f(x * 1.44269504f); }
static inline float erfc(float x) { return exp(-x * x) / (1 + x * (0.278393f + x * (0.230389f + x * 0.078108f))); }
static inline float widen_half(ushort h) {
  return as_float((((uint)(h & 0x7fff) << 13) + 0x38000000u) | (uint)(h & 0x8000) << 16);
}
#define vload_half(i, p) widen_half(((global const ushort *)(p))[i])
