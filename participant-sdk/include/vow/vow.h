/*
 * libvow: everything. A service that takes part in transactions needs <vow/participant.h> (and
 * <vow/sqlite.h> if its work is SQL on SQLite); who begins and commits them needs <vow/client.h>.
 */
#ifndef VOW_VOW_H
#define VOW_VOW_H

#include <vow/client.h>
#include <vow/error.h>
#include <vow/participant.h>
#include <vow/sqlite.h>
#include <vow/types.h>

#endif
