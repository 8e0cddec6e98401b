/*
 * What the driver notes, as lines of the daemon's log. Of what may come in thousands only so many
 * are written in ten seconds, and the next line says how many were left out. On the loop.
 */
#ifndef VOW_COORDINATOR_NOTES_H
#define VOW_COORDINATOR_NOTES_H

#include "config.h"
#include "io/driver.h"
#include "io/logger.h"

struct uv_loop_s;

struct vow_notes {
  struct vow_logger *logger; /* borrowed, as the next two */
  const struct uv_loop_s *loop;
  const struct vow_config *config;
  struct vow_logger_rate aborted_rate, heuristic_rate, unknown_rate, endpoint_rate;
};

void vow_notes_say(struct vow_notes *notes, const struct vow_driver_note *note);
void vow_notes_say_quarantine(const struct vow_notes *notes, const char *why);

#endif
