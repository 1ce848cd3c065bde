/* SPDX-License-Identifier: Apache-2.0 */
/* libcrosscoder: watch concepts appear inside language models while they are being pretrained. */
#ifndef CROSSCODER_H
#define CROSSCODER_H

#include <crosscoder/analysis.h>
#include <crosscoder/coder.h>
#include <crosscoder/data.h>
#include <crosscoder/device.h>
#include <crosscoder/exchange.h>
#include <crosscoder/export.h>
#include <crosscoder/harvest.h>
#include <crosscoder/model.h>
#include <crosscoder/report.h>
#include <crosscoder/run.h>
#include <crosscoder/status.h>
#include <crosscoder/train.h>
#include <crosscoder/version.h>

#endif
