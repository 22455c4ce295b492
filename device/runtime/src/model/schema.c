/* Model table, sections, weights; owns the parsed structs. */
#include "schema.h"

#include <string.h>

enum { RUNTIME_MAJOR = 1, RUNTIME_MINOR = 4, MAX_DECOMPRESSED = 1 << 30 };

static void parse_version(const fb_table *root, mf_model *m) {
  const uint8_t *v = fb_struct(root, 0, "version", 3);
  if (!v) {
    fb_fault(root->buf, CVI_RC_DATA_ERR, "'version' is missing");
    return;
  }
  memcpy(m->version, v, 3);
  if (v[0] != RUNTIME_MAJOR || v[1] > RUNTIME_MINOR) {
    fb_fault(root->buf, CVI_RC_INVALID_ARG, "version %u.%u.%u, this runtime reads 1.0 to %d.%d",
             v[0], v[1], v[2], RUNTIME_MAJOR, RUNTIME_MINOR);
  }
}

static void parse_section(const fb_table *t, uint64_t payload, mf_section *s) {
  fb_buf *b = t->buf;
  s->type = (mf_section_type)fb_u8(t, 0, "type");
  s->name = fb_string(t, 1, "name", true);
  s->size = fb_u32(t, 2, "size");
  s->offset = fb_u32(t, 3, "offset");
  s->encrypt = fb_bool(t, 4, "encrypt");
  s->compress = fb_bool(t, 5, "compress");
  s->decompressed_size = fb_u32(t, 6, "decompressed_size");
  if ((uint64_t)s->offset + s->size > payload) {
    fb_fault(b, CVI_RC_DATA_ERR, "'%.60s': %u bytes at %u, the file has %llu behind the body",
             s->name ? s->name : "", s->size, s->offset, (unsigned long long)payload);
  }
  if (s->type != MF_SECTION_CMDBUF && s->type != MF_SECTION_DMABUF &&
      s->type != MF_SECTION_WEIGHT) {
    return; /* code and unknown sections are never looked at */
  }
  if (s->encrypt) {
    fb_fault(b, CVI_RC_UNSUPPORT, "'%.60s' is encrypted", s->name ? s->name : "");
  }
  if (s->compress && (s->decompressed_size == 0 || s->decompressed_size > MAX_DECOMPRESSED)) {
    fb_fault(b, CVI_RC_DATA_ERR, "'%.60s': decompressed_size is %u", s->name ? s->name : "",
             s->decompressed_size);
  }
  if (s->compress && s->type == MF_SECTION_WEIGHT) {
    fb_fault(b, CVI_RC_UNSUPPORT, "compressed weight section");
  }
}

static CVI_RC parse_sections(const fb_table *root, uint64_t payload, mf_model *m) {
  fb_buf *b = root->buf;
  m->weight_section = -1;
  fb_vector v = fb_vec(root, 7, "sections", 4, true);
  if (b->failed) {
    return b->rc;
  }
  m->sections = rt_zalloc(v.count, sizeof(mf_section), "sections");
  if (!m->sections) {
    return CVI_RC_NOMEM;
  }
  m->section_count = v.count;
  for (uint32_t i = 0; i < v.count && !b->failed; i++) {
    fb_enter(b, "sections", i);
    fb_table t = fb_vec_table(&v, i);
    parse_section(&t, payload, &m->sections[i]);
    if (m->sections[i].type == MF_SECTION_WEIGHT && m->sections[i].size > 0) {
      m->weight_section = (int32_t)i; /* the last one wins */
    }
    fb_leave(b);
  }
  return b->failed ? b->rc : CVI_RC_SUCCESS;
}

static CVI_RC parse_weights(const fb_table *root, mf_model *m) {
  fb_buf *b = root->buf;
  fb_vector v = fb_vec(root, 5, "weight_map", 4, false);
  if (b->failed) {
    return b->rc;
  }
  m->weights = rt_zalloc(v.count, sizeof(mf_tensor), "weight map");
  if (!m->weights) {
    return CVI_RC_NOMEM;
  }
  m->weight_count = v.count;
  uint64_t size = mf_region_size(m, NULL, MF_BASE_WEIGHT);
  for (uint32_t i = 0; i < v.count && !b->failed; i++) {
    fb_enter(b, "weight_map", i);
    mf_parse_weight(fb_vec_table(&v, i), size, &m->weights[i]);
    fb_leave(b);
  }
  return b->failed ? b->rc : CVI_RC_SUCCESS;
}

static CVI_RC parse_programs(const fb_table *root, const char *chip, mf_model *m) {
  fb_buf *b = root->buf;
  fb_vector v = fb_vec(root, 6, "programs", 4, true);
  if (!b->failed && v.count == 0) {
    fb_fault(b, CVI_RC_DATA_ERR, "'programs' is empty");
  }
  if (b->failed) {
    return b->rc;
  }
  mf_names sections;
  CVI_RC rc = mf_names_build(&sections, m->sections, sizeof(mf_section), m->section_count, NULL);
  if (rc) {
    return rc;
  }
  m->programs = rt_zalloc(v.count, sizeof(mf_program), "programs");
  rc = m->programs ? CVI_RC_SUCCESS : CVI_RC_NOMEM;
  m->program_count = m->programs ? v.count : 0;
  for (uint32_t i = 0; i < m->program_count && !rc; i++) {
    fb_enter(b, "programs", i);
    fb_table t = fb_vec_table(&v, i);
    rc = b->failed ? b->rc : mf_parse_program(t, chip, m, &sections, &m->programs[i]);
    fb_leave(b);
  }
  mf_names_free(&sections);
  return rc;
}

CVI_RC mf_parse(const char *chip, uint8_t *body, uint32_t body_size, uint64_t payload,
                mf_model *out) {
  *out = (mf_model){.body = body, .weight_section = -1};
  fb_buf buf;
  fb_init(&buf, body, body_size);
  fb_enter(&buf, "Model", -1);
  fb_table root = fb_root(&buf);
  if (!buf.failed) {
    parse_version(&root, out);
  }
  out->name = fb_string(&root, 1, "name", true);
  out->build_time = fb_string(&root, 2, "build_time", false);
  out->target = fb_string(&root, 8, "target", false);
  out->mlir_version = fb_string(&root, 9, "mlir_version", false);
  CVI_RC rc = buf.failed ? buf.rc : parse_sections(&root, payload, out);
  rc = rc ? rc : parse_weights(&root, out);
  return rc ? rc : parse_programs(&root, chip, out);
}

void mf_free(mf_model *m) {
  for (uint32_t i = 0; i < m->program_count; i++) {
    mf_program *p = &m->programs[i];
    for (uint32_t r = 0; r < p->routine_count; r++) {
      rt_free(p->routines[r].in);
    }
    rt_free(p->routines);
    rt_free(p->tensors);
    rt_free(p->in);
    rt_free(p->out);
  }
  rt_free(m->programs);
  rt_free(m->sections);
  rt_free(m->weights);
  rt_free(m->body);
  *m = (mf_model){0};
}
