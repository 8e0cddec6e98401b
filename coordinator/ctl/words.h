/*
 * Lists that the command line gives: with commas between, or, as @FILE, a file's with commas or
 * white space between. More ids than an argument may be long come by a file.
 */
#ifndef VOW_CTL_WORDS_H
#define VOW_CTL_WORDS_H

#include "exit.h"

#define CTL_WORDS_FILE_BYTES_MAX (64L << 20)

/* Calls `take` for each word, until one is refused. NULL: an empty list. */
enum ctl_exit ctl_each_word(const char *list, void *context,
                            enum ctl_exit (*take)(void *context, const char *word));

#endif
