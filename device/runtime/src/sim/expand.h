/* Expanded input maps: inserted rows and columns, pads, split by stride phase
 * (hw/cv18xx-tiu.md section 5.6).
 *
 * Row Y, column X of the expanded map (height x width) is stored in plane
 * [slot of Y mod ystr][slot of X mod xstr] at row Y div ystr, column X div xstr; planes are
 * hph x wph. So tap (i, j) of output (y, x) is at tap_offset(i, j) + y*wph + x for every stride:
 * inner loops run over a flat index y*wph + x and drop the columns x >= ow. Only phases that some
 * tap uses have a slot. A map holds what `rows` output rows need: wide and high inputs go through
 * it in parts, so that the work area stays small and in the first level cache.
 */
#ifndef TPUFORGE_SIM_EXPAND_H
#define TPUFORGE_SIM_EXPAND_H

#include "internal.h"

#define EXPAND_SLACK 128 /* units readable behind the last plane */

/* The inputs of one phase of rows or columns: first expanded place, first input and count; inputs
 * follow each other at a distance of `in_step`, places at `out_step`. */
typedef struct {
  uint32_t place, input, count, in_step, out_step;
} phase_inputs;

typedef struct {
  uint32_t height, width, hph, wph, ny, nx, in_h, in_w;
  uint32_t rows, out_h; /* output rows: served at a time, all */
  uint64_t plane;       /* units of all phases of one channel */
  uint8_t yslot[32], xslot[32], yphase[32], xphase[32];
  phase_inputs ys[32], xs[32]; /* of every slot, see expand_begin */
  uint8_t whole;               /* map used as it is: rows of in_w units */
  uint8_t plain;               /* expanded rows contain the input rows as they are */
} expansion;

/* dst[0..count) = units from input row `row` on. */
typedef void (*row_loader)(void *dst, const void *ctx, uint32_t row, uint32_t count);

/* For `rows` output rows at a time; packed_rows: the loader may be asked for many rows at once. */
void expansion_init(expansion *x, const tiu_cmd *t, int packed_rows, uint32_t rows);

/* Output rows per map of at most `area` bytes, `unit` per unit of x->plane, at least one; `most`
 * evenly divided among the maps. x: made for one row. */
uint32_t expansion_rows(const expansion *x, uint32_t most, uint64_t area, uint64_t unit);

/* Units of the row buffer that expand_rows needs. */
static inline size_t expansion_row_units(const expansion *x) {
  return x->whole || x->plain ? 0 : (size_t)x->in_w + 64;
}

/* Before the first expand_rows. */
void expand_begin(expansion *x, const window *w);

/* Set all x->plane units of `size` bytes (1, 2 or 4) to the fill value. */
void expand_fill(const expansion *x, void *dst, uint32_t size, uint32_t fill);

/* What the output rows from y on read: input rows go to their places; the positions between them
 * are left alone, so a map that was filled once serves any number of channels. Rows without input
 * are filled again where other rows may have been. `rows`: expansion_row_units units. */
void expand_rows(const expansion *x, const window *w, void *dst, uint32_t size, uint32_t fill,
                 uint32_t y, row_loader load, const void *ctx, void *rows);

/* Results v (len of `size` bytes) of the flat positions from p on to their places; plane: result
 * row 0 of the map. */
void expand_scatter(const expansion *x, const operand *r, uint8_t *plane, uint32_t p,
                    const uint8_t *v, uint32_t len, uint32_t size);

/* Positions of `rows` output rows. */
static inline uint32_t expansion_flat(const expansion *x, const tiu_cmd *t, uint32_t rows) {
  return (rows - 1u) * x->wph + t->res.w;
}

/* Whether flat positions are result bytes. */
static inline int expansion_dense(const expansion *x, const operand *r) {
  return x->wph == r->w && r->ws == 1 && r->hs == r->w;
}

static inline uint64_t tap_offset(const expansion *x, const window *w, uint32_t i, uint32_t j) {
  const uint32_t y = i * w->ydil, c = j * w->xdil;
  const uint32_t slot = x->yslot[y % w->ystr] * x->nx + x->xslot[c % w->xstr];
  return ((uint64_t)slot * x->hph + y / w->ystr) * x->wph + c / w->xstr;
}

#endif
