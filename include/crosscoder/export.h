/* SPDX-License-Identifier: Apache-2.0 */
/* Which symbols of the library are public. Everything else has hidden visibility. */
#ifndef CROSSCODER_EXPORT_H
#define CROSSCODER_EXPORT_H

#if defined(__GNUC__) || defined(__clang__)
#define XCODER_API __attribute__((visibility("default")))
#define XCODER_PRINTF(format_index, first_argument) \
  __attribute__((format(printf, format_index, first_argument)))
#else
#define XCODER_API
#define XCODER_PRINTF(format_index, first_argument)
#endif

#endif
