/* Program and Routine tables. */
#include <string.h>

#include "schema.h"

typedef struct {
  const char *chip;
  const mf_model *model;
  mf_program *program;
  const mf_names *sections;
  mf_names tensors;
  mf_names weights; /* built when a CPU routine first needs it */
  bool have_weights;
  CVI_RC rc; /* of allocations */
} program_parser;

static bool failed(const program_parser *p, const fb_buf *b) { return b->failed || p->rc; }

/* Zeroed array; sets p->rc when out of memory. */
static void *array(program_parser *p, size_t count, size_t size, const char *what) {
  void *result = rt_zalloc(count, size, what);
  if (!result) {
    p->rc = CVI_RC_NOMEM;
  }
  return result;
}

static void parse_tensor_map(program_parser *p, const fb_table *t) {
  fb_buf *b = t->buf;
  fb_vector map = fb_vec(t, 4, "tensor_map", 4, true);
  if (b->failed) {
    return;
  }
  p->program->tensors = array(p, map.count, sizeof(mf_tensor), "tensor map");
  for (uint32_t i = 0; i < map.count && !failed(p, b); i++) {
    fb_enter(b, "tensor_map", i);
    mf_parse_tensor(fb_vec_table(&map, i), p->chip, &p->program->tensors[i]);
    fb_leave(b);
  }
  if (failed(p, b)) {
    return;
  }
  p->program->tensor_count = map.count;
  int64_t duplicate;
  p->rc =
      mf_names_build(&p->tensors, p->program->tensors, sizeof(mf_tensor), map.count, &duplicate);
  if (!p->rc && duplicate >= 0) {
    fb_fault(b, CVI_RC_DATA_ERR, "tensor_map[%lld]: name '%.60s' is used twice",
             (long long)duplicate, p->program->tensors[duplicate].name);
  }
}

/* Does the tensor lie inside its region? The first tensor of an io base makes the region. */
static void check_places(program_parser *p, fb_buf *b) {
  mf_program *prog = p->program;
  for (unsigned k = 0; k < MF_BASES; k++) {
    prog->io_tensor[k] = -1;
  }
  for (uint32_t i = 0; i < prog->tensor_count && !b->failed; i++) {
    const mf_tensor *t = &prog->tensors[i];
    if (t->offset == -1) {
      continue;
    }
    unsigned base = mf_base(t->offset);
    uint64_t low = mf_low(t->offset);
    fb_enter(b, "tensor_map", i);
    if (base >= MF_BASE_IO && prog->io_tensor[base] < 0) {
      prog->io_tensor[base] = (int32_t)i;
      if (low != 0) {
        fb_fault(b, CVI_RC_DATA_ERR, "'%.60s' is the first of io buffer %u but starts at %llu",
                 t->name, base, (unsigned long long)low);
      }
    }
    uint64_t size = mf_region_size(p->model, prog, base);
    if (low > size || t->mem_size > size - low) {
      fb_fault(b, CVI_RC_DATA_ERR, "'%.60s': %llu bytes at %llu leave region %u of %llu bytes",
               t->name, (unsigned long long)t->mem_size, (unsigned long long)low, base,
               (unsigned long long)size);
    }
    fb_leave(b);
  }
}

static void parse_io(program_parser *p, const fb_table *t, int id, const char *name,
                     uint32_t **list, uint32_t *count) {
  fb_buf *b = t->buf;
  fb_vector v = fb_vec(t, id, name, 4, true);
  if (failed(p, b)) {
    return;
  }
  *list = array(p, v.count, sizeof(uint32_t), name);
  *count = *list ? v.count : 0;
  for (uint32_t i = 0; i < *count && !failed(p, b); i++) {
    const char *tensor = fb_vec_string(&v, i);
    int64_t index = tensor ? mf_names_find(&p->tensors, tensor) : -1;
    if (tensor && index < 0) {
      fb_fault(b, CVI_RC_DATA_ERR, "%s[%u]: no tensor '%.60s'", name, i, tensor);
    }
    (*list)[i] = (uint32_t)index;
  }
}

/* Tensor or, for CPU routines, weight. */
static mf_ref resolve(program_parser *p, fb_buf *b, const char *name, bool weight_allowed) {
  int64_t index = mf_names_find(&p->tensors, name);
  if (index >= 0) {
    return (mf_ref)index;
  }
  if (weight_allowed && !p->have_weights) {
    p->rc = mf_names_build(&p->weights, p->model->weights, sizeof(mf_tensor),
                           p->model->weight_count, NULL);
    p->have_weights = p->rc == CVI_RC_SUCCESS;
  }
  if (weight_allowed && p->have_weights) {
    index = mf_names_find(&p->weights, name);
    if (index >= 0) {
      return -1 - (mf_ref)index;
    }
  }
  fb_fault(b, CVI_RC_DATA_ERR, "no tensor%s '%.60s'", weight_allowed ? " or weight" : "", name);
  return 0;
}

/* Names of TPU routines are informational, but must exist; weights may be among the inputs. */
static void parse_refs(program_parser *p, const fb_table *t, mf_routine *r) {
  fb_buf *b = t->buf;
  fb_vector in = fb_vec(t, 1, "in_tensors", 4, false);
  fb_vector out = fb_vec(t, 2, "out_tensors", 4, false);
  if (b->failed) {
    return;
  }
  r->in = array(p, (size_t)in.count + out.count, sizeof(mf_ref), "routine tensors");
  if (!r->in) {
    return;
  }
  r->out = r->in + in.count;
  for (uint32_t i = 0; i < in.count && !failed(p, b); i++) {
    const char *name = fb_vec_string(&in, i);
    r->in[i] = name ? resolve(p, b, name, true) : 0;
  }
  for (uint32_t i = 0; i < out.count && !failed(p, b); i++) {
    const char *name = fb_vec_string(&out, i);
    r->out[i] = name ? resolve(p, b, name, false) : 0;
  }
  r->in_count = in.count;
  r->out_count = out.count;
}

static void parse_tpu(program_parser *p, const fb_table *t, mf_routine *r) {
  fb_buf *b = t->buf;
  fb_table tpu = fb_sub(t, 3, "tpu_routine");
  if (tpu.pos == 0 && !b->failed) {
    fb_fault(b, CVI_RC_DATA_ERR, "'tpu_routine' is missing");
  }
  const char *name = fb_string(&tpu, 0, "cmdbuf_section", false);
  mf_section_type type = MF_SECTION_CMDBUF;
  if (!name) {
    type = MF_SECTION_DMABUF;
    name = fb_string(&tpu, 1, "dmabuf_section", !b->failed);
  }
  int64_t index = name ? mf_names_find(p->sections, name) : -1;
  if (name && index < 0) {
    fb_fault(b, CVI_RC_DATA_ERR, "no command section '%.60s'", name);
  } else if (name && p->model->sections[index].type != type) {
    fb_fault(b, CVI_RC_DATA_ERR, "section '%.60s' has type %d, not %d", name,
             p->model->sections[index].type, type);
  }
  r->section = (int32_t)index;
}

static void parse_cpu(const fb_table *t, mf_routine *r) {
  fb_table cpu = fb_sub(t, 4, "cpu_routine");
  if (cpu.pos == 0 && !t->buf->failed) {
    fb_fault(t->buf, CVI_RC_DATA_ERR, "'cpu_routine' is missing");
  }
  r->function = fb_string(&cpu, 0, "function_section", true);
  fb_vector args = fb_vec(&cpu, 1, "function_args", 1, false);
  r->args = args.count ? t->buf->data + args.pos : NULL;
  r->args_size = args.count;
}

static void parse_routines(program_parser *p, const fb_table *t) {
  fb_buf *b = t->buf;
  fb_vector v = fb_vec(t, 5, "routines", 4, true);
  if (failed(p, b)) {
    return;
  }
  p->program->routines = array(p, v.count, sizeof(mf_routine), "routines");
  p->program->routine_count = p->program->routines ? v.count : 0;
  for (uint32_t i = 0; i < p->program->routine_count && !failed(p, b); i++) {
    mf_routine *r = &p->program->routines[i];
    fb_enter(b, "routines", i);
    fb_table routine = fb_vec_table(&v, i);
    uint8_t type = fb_u8(&routine, 0, "type");
    if (type > 1) {
      fb_fault(b, CVI_RC_DATA_ERR, "type is %u, must be 0 (TPU) or 1 (CPU)", type);
    }
    r->cpu = type == 1;
    parse_refs(p, &routine, r);
    if (r->cpu) {
      parse_cpu(&routine, r);
    } else {
      parse_tpu(p, &routine, r);
    }
    fb_leave(b);
  }
}

uint64_t mf_region_size(const mf_model *m, const mf_program *p, unsigned base) {
  if (base == MF_BASE_WEIGHT) {
    return m->weight_section >= 0 ? m->sections[m->weight_section].size : 0;
  }
  if (base == MF_BASE_SHARED) {
    return p->neuron_size ? p->neuron_size : p->shared_gmem;
  }
  if (base == MF_BASE_PRIVATE) {
    return p->neuron_size ? p->neuron_size : p->private_gmem;
  }
  return p->io_tensor[base] >= 0 ? p->tensors[p->io_tensor[base]].mem_size : 0;
}

CVI_RC mf_parse_program(fb_table t, const char *chip, const mf_model *m, const mf_names *sections,
                        mf_program *out) {
  program_parser p = {.chip = chip, .model = m, .sections = sections, .program = out};
  out->neuron_size = fb_u32(&t, 1, "neuron_size");
  out->shared_gmem = fb_u32(&t, 6, "shared_gmem");
  out->private_gmem = fb_u32(&t, 7, "private_gmem");
  parse_tensor_map(&p, &t);
  if (!failed(&p, t.buf)) {
    check_places(&p, t.buf);
    parse_io(&p, &t, 2, "input_tensors", &out->in, &out->in_count);
    parse_io(&p, &t, 3, "output_tensors", &out->out, &out->out_count);
    parse_routines(&p, &t);
  }
  mf_names_free(&p.tensors);
  mf_names_free(&p.weights);
  return p.rc ? p.rc : t.buf->failed ? t.buf->rc : CVI_RC_SUCCESS;
}
