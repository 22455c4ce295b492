/* The body of a cvimodel as plain structs, validated (formats/cvimodel.md sections 4, 6, 7, 13). */
#ifndef TPUFORGE_SCHEMA_H
#define TPUFORGE_SCHEMA_H

#include "fb.h"
#include "rt.h"

enum {
  MF_BASES = 8,
  MF_BASE_SHARED = 0,
  MF_BASE_WEIGHT = 1,
  MF_BASE_PRIVATE = 2,
  MF_BASE_IO = 3 /* 3..7 */
};

typedef enum {
  MF_SECTION_WEIGHT = 0,
  MF_SECTION_CMDBUF = 1,
  MF_SECTION_FUNC_X86 = 2,
  MF_SECTION_FUNC_AARCH64 = 3,
  MF_SECTION_DMABUF = 4
} mf_section_type;

/* A tensor or a weight. Strings point into the body. */
typedef struct {
  const char *name; /* first, for mf_names */
  int64_t offset;   /* address code, -1: system memory */
  CVI_FMT fmt;
  int32_t dim[4];
  uint64_t count;    /* elements */
  uint64_t mem_size; /* bytes of the buffer */
  float qscale;
  int32_t zero_point;
  float scale[3];
  float mean[3];
  CVI_NN_PIXEL_FORMAT_E pixel_format;
  bool overwrote;
  bool aligned;
} mf_tensor;

/* Index into the tensor map of the program (>= 0) or into the weight map (-1 - index). */
typedef int32_t mf_ref;

typedef struct {
  bool cpu;
  mf_ref *in, *out; /* one allocation, owned */
  uint32_t in_count, out_count;
  int32_t section;      /* TPU: index of the command section */
  const char *function; /* CPU: name of the function */
  const uint8_t *args;  /* CPU: nested FlatBuffer, may be NULL */
  uint32_t args_size;
} mf_routine;

typedef struct {
  uint32_t neuron_size, shared_gmem, private_gmem;
  mf_tensor *tensors;
  uint32_t tensor_count;
  uint32_t *in, *out; /* tensor indices */
  uint32_t in_count, out_count;
  mf_routine *routines;
  uint32_t routine_count;
  int32_t io_tensor[MF_BASES]; /* first tensor of io base k, -1: none */
} mf_program;

typedef struct {
  const char *name; /* first, for mf_names */
  mf_section_type type;
  uint32_t size, offset, decompressed_size;
  bool encrypt, compress;
} mf_section;

typedef struct {
  uint8_t *body; /* owned */
  uint8_t version[3];
  const char *name;
  const char *build_time; /* may be NULL, as mlir_version and target */
  const char *target;
  const char *mlir_version;
  mf_tensor *weights;
  uint32_t weight_count;
  mf_program *programs;
  uint32_t program_count;
  mf_section *sections;
  uint32_t section_count;
  int32_t weight_section; /* -1: none */
} mf_model;

/* Parse and validate `body` (owned by the model from now on, also after a failure).
 * `chip` selects the alignment of image tensors; `payload` is the number of bytes behind the body.
 * INVALID_ARG: too new. DATA_ERR: inconsistent. UNSUPPORT: a feature we do not have. */
CVI_RC mf_parse(const char *chip, uint8_t *body, uint32_t body_size, uint64_t payload,
                mf_model *out);
void mf_free(mf_model *m);

/* Bytes per element of a format. */
uint32_t mf_elem_size(CVI_FMT fmt);

/* Selector and low part of an address code >= 0. */
static inline unsigned mf_base(int64_t code) { return (unsigned)((code >> 40) & 7); }
static inline uint64_t mf_low(int64_t code) { return (uint64_t)code & 0xFFFFFFFFFFu; }

/* Size of a base region as the program declares it (weights: of the section). */
uint64_t mf_region_size(const mf_model *m, const mf_program *p, unsigned base);

/* Parts of mf_parse in files of their own. */
void mf_parse_tensor(fb_table t, const char *chip, mf_tensor *out);
void mf_parse_weight(fb_table t, uint64_t section_size, mf_tensor *out);

/* Bytes of an image tensor with VPSS alignment, section 7.3; 0: no such format. */
uint64_t mf_aligned_size(const char *chip, CVI_NN_PIXEL_FORMAT_E format, uint64_t n, uint64_t c,
                         uint64_t h, uint64_t w);

/* Row alignment of image frames on this chip. */
uint32_t mf_row_align(const char *chip);

/* Name -> index of an array of structs whose first member is the name. */
typedef struct {
  const void *list;
  size_t stride;
  uint32_t *slots; /* index + 1, 0: empty */
  uint32_t mask;
} mf_names;

/* NULL names are skipped, the first of equal names wins; *duplicate (may be NULL) gets the index of
 * a later one, or -1. */
CVI_RC mf_names_build(mf_names *names, const void *list, size_t stride, uint32_t count,
                      int64_t *duplicate);
int64_t mf_names_find(const mf_names *names, const char *name);
void mf_names_free(mf_names *names);

CVI_RC mf_parse_program(fb_table t, const char *chip, const mf_model *m, const mf_names *sections,
                        mf_program *out);

#endif
