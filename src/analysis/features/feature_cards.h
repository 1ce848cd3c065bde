/* SPDX-License-Identifier: Apache-2.0 */
/* Cards of features as JSON, and the table of all of them. */
#ifndef XCI_ANALYSIS_FEATURE_CARDS_H
#define XCI_ANALYSIS_FEATURE_CARDS_H

#include "analysis/features/feature_database.h"
#include "analysis/json_out.h"

/* One object with everything that the row tells. */
void xci_card_write(xci_json_out *out, const char *key, const xci_database *database, size_t row);

/* features/features.json (cards of `features`, in their order, each once) and features/features.csv (all rows that
 * fired). */
xcoder_status xci_cards_write(const xci_database *database, const uint32_t *features, size_t n_features,
                              const char *run_directory, xcoder_error *err);

#endif
