/* Element streams: n, c, h, w order, in runs of adjacent elements. */

#include "stream.h"

void stream_open(stream *s, const exec_ctx *x, const side *d) {
  const uint32_t e = d->fmt == 2 ? 2 : 1;
  *s = (stream){.d = d, .x = x, .e = e, .run = d->w, .nh = d->h, .nc = d->c};
  s->base = d->local ? x->lmem : x->regions[d->region].data + d->addr;
  if (s->nh == 1 || d->hs == s->run * e) {
    s->run *= s->nh;
    s->nh = 1;
    if (!d->local && (s->nc == 1 || d->cs == s->run * e)) {
      s->run *= s->nc;
      s->nc = 1;
      if (d->n == 1 || d->ns == s->run * e) {
        s->run *= d->n;
      }
    }
  }
  s->left = s->run;
  s->p = stream_row(s);
}

void walker_open(walker *w, const exec_ctx *x, const tdma_cmd *d, const side *local) {
  w->row = *local;
  w->cols = d->matrix ? d->cols : (uint64_t)local->n * local->c * local->h * local->w;
  w->row.n = d->matrix ? 1 : local->n;
  w->left = w->cols;
  stream_open(&w->s, x, &w->row);
}

void walker_skip(walker *w, uint64_t count) {
  w->left -= count;
  stream_skip(&w->s, count);
  if (w->left == 0) {
    w->left = w->cols;
    w->row.addr += w->row.ns;
    stream_open(&w->s, w->s.x, &w->row);
  }
}
