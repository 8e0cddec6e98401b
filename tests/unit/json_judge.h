/*
 * Holds the JSON parser against another one: jansson, by people who do not know ours. Both must
 * agree on what is JSON and on what it says.
 */
#ifndef VOW_TEST_JSON_JUDGE_H
#define VOW_TEST_JSON_JUDGE_H

#include <stdbool.h>
#include <stddef.h>

#define JSON_JUDGE_COMPLAINT_BYTES 512

/* False: they disagree, and `complaint` says how. *valid_out: ours took it. */
bool json_judge(const char *text, size_t bytes, bool *valid_out,
                char complaint[JSON_JUDGE_COMPLAINT_BYTES]);

#endif
