/*
 * A participant's log as version 1 wrote it, made by SQL: what a libvow of today has to take over.
 */
#ifndef VOW_TESTS_OLD_LOG_H
#define VOW_TESTS_OLD_LOG_H

#include <sqlite3.h>

#include "core/branch.h"

/* The tables; then what is in them. Each ends the process if SQLite refuses. */
void old_log_make(sqlite3 *db);
void old_log_put(sqlite3 *db, const struct vow_precord *record); /* its row does not count */
void old_log_put_watermark(sqlite3 *db, const char *url, struct vow_id below);
void old_log_put_seen(sqlite3 *db, const char *url, struct vow_log_position seen);

#endif
