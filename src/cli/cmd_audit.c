/* SPDX-License-Identifier: Apache-2.0 */
#include "setting.h"
xcoder_status cli_audit(cli_call *call, xcoder_error *err) { (void)call; (void)err; return XCODER_OK; }
