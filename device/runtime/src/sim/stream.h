/* The elements of one side of a transfer in n, c, h, w order. */
#ifndef TPUFORGE_SIM_STREAM_H
#define TPUFORGE_SIM_STREAM_H

#include "internal.h"

typedef struct {
    const side *d;
    const exec_ctx *x;
    uint8_t *base, *p;      /* p: next element */
    uint32_t e, n, c, h;    /* e: bytes per element */
    uint32_t nh, nc;        /* counts after merging adjacent rows */
    uint64_t run, left;     /* elements per run, elements left in this one */
} stream;

void stream_open(stream *s, const exec_ctx *x, const side *d);
uint8_t *stream_row(const stream *s);
/* Move on by count <= left elements. */
void stream_skip(stream *s, uint64_t count);

#endif
