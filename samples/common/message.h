/* Messages of the samples. */
#ifndef SAMPLES_MESSAGE_H
#define SAMPLES_MESSAGE_H

#include <stdbool.h>

/* One line on stderr; always false, so that a function can `return fail(...)`. */
bool fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
