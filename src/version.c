/* SPDX-License-Identifier: Apache-2.0 */
/* The version of the library at run time. */
#include <crosscoder/version.h>

const char *xcoder_version(void) { return XCODER_VERSION; }
