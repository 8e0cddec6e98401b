/*
 * The daemon: configuration, logger, server, driver and API on one loop, with signals and an
 * orderly end. Called by main.c alone.
 */
#ifndef VOW_COORDINATOR_DAEMON_H
#define VOW_COORDINATOR_DAEMON_H

#include "config.h"

/* Exit codes; scripts and supervisors rely on them. The last line of the log says what was wrong.
 */
enum vow_exit {
  VOW_EXIT_OK = 0,      /* stopped as asked; transactions that are open are in the log */
  VOW_EXIT_FAILURE = 1, /* the address or the log cannot be used, the log failed, … */
  VOW_EXIT_CONFIG = 2   /* the configuration or a flag is not valid: starting again won't help */
};

/* Serves until it is told to stop. Takes the configuration; argc, argv and environment are read
 * again at SIGHUP. Blocks. */
int vow_daemon_run(struct vow_config *config, int argc, char *const *argv,
                   char *const *environment);

#endif
