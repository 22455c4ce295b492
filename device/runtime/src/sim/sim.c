/* Simulators and the run loop. */

#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "kernels.h"

int tpu_sim_create(const char *chip, tpu_sim **out) {
  const chip_info *info = chip_find(chip);
  *out = NULL;
  if (!info) {
    return TPU_SIM_UNSUPPORTED;
  }
  tpu_sim *s = calloc(1, sizeof *s);
  if (!s) {
    return TPU_SIM_NOMEM;
  }
  s->chip = info;
  s->lmem = calloc(1, (size_t)info->lanes * LANE_BYTES + PAD_BYTES);
  if (!s->lmem) {
    free(s);
    return TPU_SIM_NOMEM;
  }
  s->team = team_create(team_wanted());
  *out = s;
  return TPU_SIM_OK;
}

void tpu_sim_destroy(tpu_sim *s) {
  if (s) {
    team_destroy(s->team);
    free(s->lmem);
    free(s->scratch_block);
    free(s->shadow);
    free(s);
  }
}

uint8_t *tpu_sim_lmem(tpu_sim *s, size_t *size) {
  *size = (size_t)s->chip->lanes * LANE_BYTES;
  return s->lmem;
}

static int check_regions(const tpu_program *p, const tpu_region regions[8], char *err,
                         size_t errlen) {
  uint64_t size[8];
  for (uint32_t k = 0; k < 8; k++) {
    size[k] = regions[k].data ? regions[k].size : 0;
    if (p->region[k].write_end && !regions[k].writable) {
      const err_ctx e = {
          .buf = err, .len = errlen, .engine = "TDMA", .index = p->region[k].write_index};
      return sim_fail(&e, TPU_SIM_RANGE, "store into region %u, which is read-only", k);
    }
  }
  return tpu_program_check(p, size, err, errlen);
}

/* `need` bytes of scratch for every thread. */
static int grow_scratch(tpu_sim *s, size_t need) {
  need = (need + 63) / 64 * 64;
  if (need <= s->scratch_size) {
    return TPU_SIM_OK;
  }
  free(s->scratch_block);
  s->scratch_size = 0;
  s->scratch_block = calloc(1, need * team_size(s->team) + 64 + PAD_BYTES);
  if (!s->scratch_block) {
    return TPU_SIM_NOMEM;
  }
  s->scratch = s->scratch_block + (64 - (uintptr_t)s->scratch_block % 64);
  s->scratch_size = need;
  return TPU_SIM_OK;
}

static int execute(const exec_ctx *x, const command *c) {
  const tiu_cmd *t = &c->u.t;
  switch (c->op) {
  case OP_ARITH:
    return exec_arith(x, t);
  case OP_LOOKUP:
    exec_lookup(x, t);
    break;
  case OP_MDSUM:
    exec_mdsum(x, t);
    break;
  case OP_POOL:
    exec_pool(x, t);
    break;
  case OP_DEPTHWISE:
    exec_depthwise(x, t);
    break;
  case OP_CONV:
    exec_conv(x, t);
    break;
  case OP_MATRIX:
    exec_matrix(x, t);
    break;
  default:
    return exec_tdma(x, c->op, &c->u.d);
  }
  return TPU_SIM_OK;
}

typedef struct {
  const exec_ctx *x;
  const command *c;
  int rc; /* of part 0; an error is the same in all parts */
} shared_command;

static void execute_part(void *ctx, uint32_t part) {
  static const err_ctx silent;
  shared_command *shared = ctx;
  exec_ctx x = *shared->x;
  x.part = part;
  x.scratch += part * x.scratch_size;
  if (part) {
    x.err = &silent;
    (void)execute(&x, shared->c);
  } else {
    shared->rc = execute(&x, shared->c);
  }
}

/* Large commands whose results do not overlap, by several threads. */
static int is_shared(const tpu_sim *s, const command *c) {
  if (!s->team || c->work < SHARED_WORK / 4) {
    return 0;
  }
  switch (c->op) {
  case OP_CONV:
  case OP_MATRIX:
    return c->work >= SHARED_WORK && !c->u.t.direct;
  case OP_DEPTHWISE: /* slower by operation */
  case OP_POOL:
    return !c->u.t.direct;
  case OP_ARITH: /* a shift may fail in the middle */
    return c->work >= SHARED_WORK && !c->u.t.direct && c->u.t.eu != EU_SHIFT;
  case OP_DECOMPRESS:
    return c->work >= SHARED_WORK && decompress_divides(s->chip, &c->u.d);
  default:
    return 0;
  }
}

static int run_command(tpu_sim *s, exec_ctx *x, const command *c) {
  x->rmem = s->lmem;
  if (c->engine == 0 && c->u.t.snapshot) {
    memcpy(s->shadow, s->lmem, (size_t)s->chip->lanes * LANE_BYTES);
    x->rmem = s->shadow;
  }
  if (!is_shared(s, c)) {
    x->parts = 1;
    return execute(x, c);
  }
  x->parts = team_size(s->team);
  shared_command shared = {x, c, TPU_SIM_OK};
  team_run(s->team, execute_part, &shared);
  return shared.rc;
}

int tpu_sim_run(tpu_sim *s, const tpu_program *p, const tpu_region regions[8], char *err,
                size_t errlen) {
  err_ctx e = {.buf = err, .len = errlen};
  if (p->chip != s->chip) {
    return sim_fail(&e, TPU_SIM_UNSUPPORTED, "program for %s, simulator of %s", p->chip->name,
                    s->chip->name);
  }
  int rc = check_regions(p, regions, err, errlen);
  rc = rc == TPU_SIM_OK ? grow_scratch(s, p->scratch) : rc;
  if (rc == TPU_SIM_NOMEM) {
    return sim_fail(&e, rc, "no memory for %zu bytes of scratch", p->scratch);
  }
  uint32_t shift = 0;
  while ((1u << shift) < s->chip->lanes) {
    shift++;
  }
  if (rc == TPU_SIM_OK && p->snapshots && !s->shadow) {
    s->shadow = calloc(1, (size_t)s->chip->lanes * LANE_BYTES + PAD_BYTES);
    rc = s->shadow ? TPU_SIM_OK : sim_fail(&e, TPU_SIM_NOMEM, "no memory for a snapshot");
  }
  exec_ctx x = {.lmem = s->lmem,
                .lanes = s->chip->lanes,
                .lane_shift = shift,
                .gen_b = s->chip->gen_b,
                .scratch = s->scratch,
                .scratch_size = s->scratch_size,
                .regions = regions,
                .err = &e};
  const uint8_t *packet = p->packets;
  for (uint32_t i = 0; rc == TPU_SIM_OK && i < p->count; i++) {
    command c;
    packet = program_next(p, packet, &c, &e);
    e.engine = c.engine == 0 ? "TIU" : "TDMA";
    e.index = c.index;
    rc = run_command(s, &x, &c);
  }
  return rc;
}
