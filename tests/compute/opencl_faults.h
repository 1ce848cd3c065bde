/* SPDX-License-Identifier: Apache-2.0 */
/* A driver of OpenCL that fails when told to, or says of its devices what it is told: functions that stand before the
 * loader's, linked into a test or preloaded (then told by the environment; see opencl_faults.c). */
#ifndef TESTS_COMPUTE_OPENCL_FAULTS_H
#define TESTS_COMPUTE_OPENCL_FAULTS_H

#include <stddef.h>

enum { FAULT_BUILD, FAULT_ALLOCATE, FAULT_ENQUEUE, N_FAULTS };
extern const char *const fault_names[N_FAULTS];
extern int fault_left[N_FAULTS]; /* calls until the one that fails; 0: none does */
extern int fault_seen[N_FAULTS]; /* calls so far */
extern int fault_is_lost;        /* after a call that failed every later one of any kind fails: a device that is gone */
extern int fault_is_gpu;         /* processors say that they are GPUs */
extern unsigned long long fault_memory,
    fault_largest; /* bytes that devices say they have, and give at once; 0: theirs */

/* No fault to come, no call seen. */
void fault_reset(void);

#endif
