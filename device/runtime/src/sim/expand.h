/* Expanded input maps: inserted rows and columns, pads, split by stride phase
 * (hw/cv18xx-tiu.md section 5.6).
 *
 * Row Y, column X of the expanded map (height x width) is stored in plane
 * [slot of Y mod ystr][slot of X mod xstr] at row Y div ystr, column X div xstr; planes are
 * hph x wph. So tap (i, j) of output (y, x) is at tap_offset(i, j) + y*wph + x for every stride:
 * inner loops run over a flat index y*wph + x and drop the columns x >= ow. Only phases that some
 * tap uses have a slot.
 */
#ifndef TPUFORGE_SIM_EXPAND_H
#define TPUFORGE_SIM_EXPAND_H

#include "internal.h"

#define EXPAND_SLACK 256 /* units readable behind the last plane */

typedef struct {
  uint32_t height, width, hph, wph, ny, nx, in_h, in_w;
  uint64_t plane; /* units of all phases of one channel */
  uint32_t flat;  /* (oh - 1)*wph + ow */
  uint8_t yslot[32], xslot[32], yphase[32], xphase[32];
  uint8_t whole; /* map used as it is: one row of in_h*in_w */
} expansion;

/* dst[0..count) = units of input row `row`. */
typedef void (*row_loader)(void *dst, const void *ctx, uint32_t row, uint32_t count);

void expansion_init(expansion *x, const tiu_cmd *t, int packed_rows);

/* Units of row buffers that expand() needs. */
static inline size_t expansion_row_units(const expansion *x) { return (size_t)x->in_w + 64; }

/* Set all x->plane units of `size` bytes (1, 2 or 4) to the fill value. */
void expand_fill(const expansion *x, void *dst, uint32_t size, uint32_t fill);

/* Copy the input rows to their places; the positions between them are left alone, so a map that
 * was filled once serves any number of channels. `rows`: expansion_row_units units. */
void expand_rows(const expansion *x, const window *w, void *dst, uint32_t size, row_loader load,
                 const void *ctx, void *rows);

static inline uint64_t tap_offset(const expansion *x, const window *w, uint32_t i, uint32_t j) {
  const uint32_t y = i * w->ydil, c = j * w->xdil;
  const uint32_t slot = x->yslot[y % w->ystr] * x->nx + x->xslot[c % w->xstr];
  return ((uint64_t)slot * x->hph + y / w->ystr) * x->wph + c / w->xstr;
}

#endif
