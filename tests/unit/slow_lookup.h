/*
 * Takes the place of getaddrinfo in a test program: whoever looks up SLOW_NAME waits, as with a
 * name server that is silent, until the test lets go, at most 10 s. All else is passed on.
 */
#ifndef VOW_TEST_SLOW_LOOKUP_H
#define VOW_TEST_SLOW_LOOKUP_H

#include <stdbool.h>

#define SLOW_NAME "slow.invalid"

/* Somebody waits now. */
bool slow_lookup_waits(void);
/* Lets go whoever waits, and waits until they are gone. */
void slow_lookup_end(void);

#endif
