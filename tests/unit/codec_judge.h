/*
 * Holds the codec against another reader of the same body: jansson, and below it a table of what
 * each kind of body consists of, by proto/README.md. A member that the decoder drops, cuts or
 * confuses is not noticed by its own encoder; here it is.
 */
#ifndef VOW_TEST_CODEC_JUDGE_H
#define VOW_TEST_CODEC_JUDGE_H

#include <stdbool.h>
#include <stddef.h>

#define CODEC_JUDGE_COMPLAINT_BYTES 256

/* Of a body that the codec took, and what it then wrote: is it such a body, and does the other say
 * the same? False: no, and `complaint` says where. */
bool codec_judge(const char *kind, const char *body, size_t bytes, const char *written,
                 char complaint[CODEC_JUDGE_COMPLAINT_BYTES]);

#endif
