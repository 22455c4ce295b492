/* Deflate streams (RFC 1951), as in compressed .npz files. */
#ifndef SAMPLES_INFLATE_H
#define SAMPLES_INFLATE_H

#include <stdbool.h>
#include <stddef.h>

/* Decode `in` to exactly out_size bytes. False: damaged, or another length. */
bool inflate_bytes(const unsigned char *in, size_t in_size, unsigned char *out, size_t out_size);

#endif
