/*
 * vowd: reads the configuration and serves, or does what a flag asks for instead.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "daemon.h"
#include "io/log.h"
#include "io/logger.h"

#define TEXT_BYTES_MAX (4u * 1024 * 1024)

static int print(const struct vow_buf *text) {
  if (text->error != VOW_OK) {
    fputs("vowd: out of memory; give this process more\n", stderr);
    return VOW_EXIT_FAILURE;
  }
  if (fputs(vow_buf_text(text), stdout) >= 0 && fflush(stdout) == 0) return VOW_EXIT_OK;
  fprintf(stderr, "vowd: cannot write to standard output: %s\n", strerror(errno));
  return VOW_EXIT_FAILURE;
}

static int act(const struct vow_config *config) {
  struct vow_buf text;
  vow_buf_init(&text, TEXT_BYTES_MAX);
  switch (config->action) {
    case VOW_CONFIG_HELP:
      vow_config_help(&text);
      break;
    case VOW_CONFIG_VERSION:
      vow_buf_puts(&text, "vowd " VOW_VERSION "\n");
      break;
    case VOW_CONFIG_CHECK:
      fputs(vow_buf_text(&config->warnings), stderr);
      vow_buf_puts(&text, "the configuration is valid:\n");
      vow_config_list(config, &text);
      break;
    default:
      vow_config_print(config, &text);
      break;
  }
  int code = print(&text);
  vow_buf_fini(&text);
  return code;
}

/* Until the daemon has its handler, and to open the log may take long, it waits: it would end the
 * process, and to a service manager that is a good end. */
static void hold_hangup(void) {
  sigset_t hangup;
  sigemptyset(&hangup);
  sigaddset(&hangup, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &hangup, NULL);
}

int main(int argc, char **argv) {
  struct vow_config config;
  char why[VOW_CONFIG_WHY_BYTES] = "";
  hold_hangup();
  vow_logger_process_init();
  enum vow_error error = vow_config_load(&config, argc, argv, environ, why);
  if (error != VOW_OK) {
    fprintf(stderr, "vowd: %s\n", why);
    return error == VOW_E_NO_MEMORY ? VOW_EXIT_FAILURE : VOW_EXIT_CONFIG;
  }
  vow_log_process_init();
  if (config.action == VOW_CONFIG_SERVE) return vow_daemon_run(&config, argc, argv, environ);
  int code = act(&config);
  vow_config_fini(&config);
  return code;
}
