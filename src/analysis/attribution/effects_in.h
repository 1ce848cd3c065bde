/* SPDX-License-Identifier: Apache-2.0 */
/* Reading back effects/TASK.csv. */
#ifndef XCI_ANALYSIS_EFFECTS_IN_H
#define XCI_ANALYSIS_EFFECTS_IN_H

#include "analysis/csv_in.h"
#include <crosscoder/analysis.h>

/* A field that must be a feature number. Errors: XCODER_FORMAT. */
xcoder_status xci_csv_feature(const xci_csv *csv, const char *path, size_t row, size_t column, uint32_t *feature,
                              xcoder_error *err);

#endif
