/* SPDX-License-Identifier: Apache-2.0 */
/* Signals: a flag for the library to see, and one prepared line for a mapped file that was cut under our feet. */
#include "signals.h"

#include <string.h>
#include <unistd.h>

volatile sig_atomic_t cli_stop;

static void ask_to_stop(int number) {
  if (cli_stop)
    _exit(128 + number);
  cli_stop = number;
}

static void explain_bus_error(int number) {
  static const char line[] =
    "crosscoder: error: an input file became shorter while it was read, or its disk failed (copy it and try again)\n";
  (void)number;
  ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);
  (void)ignored;
  _exit(3);
}

static void handle(int number, void (*handler)(int), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, NULL);
}

void cli_install_signals(void) {
  static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
    struct sigaction old;
    if (sigaction(stops[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) /* nohup stays in force */
      handle(stops[i], ask_to_stop, SA_RESTART);
  }
  handle(SIGPIPE, SIG_IGN, 0);
  handle(SIGXFSZ, SIG_IGN, 0);
  handle(SIGBUS, explain_bus_error, 0);
}
