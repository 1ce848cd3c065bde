/* SPDX-License-Identifier: Apache-2.0 */
/* Functions compiled for several vector widths, chosen when the program starts. */
#ifndef XCI_BASE_CLONES_H
#define XCI_BASE_CLONES_H

#include <stdint.h> /* defines __GLIBC__ where it applies */

/* The same C code for each; what it marks must give the same bits at every width. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define XCI_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define XCI_CLONES
#endif

#endif
