/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the reference backend share. */
#ifndef XCI_COMPUTE_REFERENCE_REFERENCE_H
#define XCI_COMPUTE_REFERENCE_REFERENCE_H

#include "compute/compute.h"

#endif
