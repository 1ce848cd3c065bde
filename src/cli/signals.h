/* SPDX-License-Identifier: Apache-2.0 */
/* Signals: SIGINT, SIGTERM and SIGHUP ask for a saved stop, a second one ends at once. */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <signal.h>

extern volatile sig_atomic_t cli_stop; /* the number of the signal that came, 0 if none */

void cli_install_signals(void);

#endif
