/* embedding, gatherelements_pt, gathernd_tf (api/cvi_nn.md section 10.4). Index values come from
 * tensors, so they are checked in every run. */
#include <string.h>

#include "cpu_op/cpu_op.h"
#include "cpu_op/ops.h"

static bool is_index(CVI_FMT fmt) {
  return fmt == CVI_FMT_INT16 || fmt == CVI_FMT_UINT16 || fmt == CVI_FMT_INT32 ||
         fmt == CVI_FMT_UINT32;
}

static int64_t index_at(const cpu_tensor *t, size_t i) {
  switch (t->fmt) {
  case CVI_FMT_INT16:
    return ((const int16_t *)t->data)[i];
  case CVI_FMT_UINT16:
    return ((const uint16_t *)t->data)[i];
  case CVI_FMT_INT32:
    return ((const int32_t *)t->data)[i];
  default:
    return ((const uint32_t *)t->data)[i];
  }
}

/* An index made non-negative; DATA_ERR outside [-limit, limit). */
static CVI_RC checked(const cpu_call *call, int64_t index, int64_t limit, size_t *out) {
  if (index < -limit || index >= limit) {
    return cpu_fail(call, "index %lld of %lld", (long long)index, (long long)limit);
  }
  *out = (size_t)(index < 0 ? index + limit : index);
  return CVI_RC_SUCCESS;
}

static CVI_RC need_index(const cpu_call *call, const cpu_tensor *t) {
  return is_index(t->fmt) ? CVI_RC_SUCCESS : cpu_fail(call, "indices have data type %d", t->fmt);
}

/* ---- embedding: row k of o0 = table row i0[k], len = table.shape[1] elements. Elements have the
 * size of the table's type (the vendor always copies 1 or 2 bytes). ---- */

CVI_RC embedding_setup(cpu_call *call) {
  CVI_RC rc = cpu_need(call, 2, 1);
  rc = rc ? rc : need_index(call, &call->in[0]);
  if (!rc && cpu_elem_size(call->in[1].fmt) != cpu_elem_size(call->out[0].fmt)) {
    rc = cpu_fail(call, "table of data type %d, output %d", call->in[1].fmt, call->out[0].fmt);
  }
  uint64_t length = rc ? 0 : (uint64_t)call->in[1].dim[1];
  if (!rc && length == 0) {
    rc = cpu_fail(call, "rows of length 0");
  }
  return rc ? rc : cpu_need_count(call, &call->out[0], call->in[0].count * length, "output");
}

CVI_RC embedding_run(cpu_call *call) {
  size_t bytes = (size_t)call->in[1].dim[1] * cpu_elem_size(call->out[0].fmt);
  int64_t rows = (int64_t)(call->in[1].count / (uint64_t)call->in[1].dim[1]);
  for (size_t i = 0; i < (size_t)call->in[0].count; i++) {
    size_t row = 0;
    CVI_RC rc = checked(call, index_at(&call->in[0], i), rows, &row);
    if (rc) {
      return rc;
    }
    memcpy((uint8_t *)call->out[0].data + i * bytes,
           (const uint8_t *)call->in[1].data + row * bytes, bytes);
  }
  return CVI_RC_SUCCESS;
}

/* ---- gatherelements_pt: o[p] = i0[p with coordinate `axis` replaced by i1[p]] ---- */

typedef struct {
  unsigned axis;
} elements_state;

CVI_RC gatherelements_pt_setup(cpu_call *call) {
  elements_state *s = cpu_alloc(call, 1, sizeof(*s));
  int32_t axis = 0;
  CVI_RC rc = s ? cpu_need(call, 2, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_int(call, "axis", &axis);
  rc = rc ? rc : cpu_axis(call, axis, &s->axis);
  rc = rc ? rc : need_index(call, &call->in[1]);
  rc = rc ? rc : cpu_need_fmt(call, &call->in[0], call->out[0].fmt, "data");
  rc = rc ? rc : cpu_need_count(call, &call->out[0], call->in[1].count, "output");
  for (unsigned i = 0; i < 4 && !rc; i++) {
    if (i != s->axis && call->in[1].dim[i] > call->in[0].dim[i]) {
      rc = cpu_fail(call, "indices have %d in dimension %u, the data %d", call->in[1].dim[i], i,
                    call->in[0].dim[i]);
    }
  }
  call->state = s;
  return rc;
}

CVI_RC gatherelements_pt_run(cpu_call *call) {
  unsigned axis = ((const elements_state *)call->state)->axis;
  const int32_t *data = call->in[0].dim, *shape = call->in[1].dim;
  size_t elem = cpu_elem_size(call->in[0].fmt), count = (size_t)call->in[1].count;
  size_t p[4] = {0};
  for (size_t i = 0; i < count; i++) {
    size_t q[4] = {p[0], p[1], p[2], p[3]};
    CVI_RC rc = checked(call, index_at(&call->in[1], i), data[axis], &q[axis]);
    if (rc) {
      return rc;
    }
    size_t from =
        ((q[0] * (size_t)data[1] + q[1]) * (size_t)data[2] + q[2]) * (size_t)data[3] + q[3];
    memcpy((uint8_t *)call->out[0].data + i * elem, (const uint8_t *)call->in[0].data + from * elem,
           elem);
    for (int d = 3; d >= 0 && ++p[d] == (size_t)shape[d]; d--) {
      p[d] = 0;
    }
  }
  return CVI_RC_SUCCESS;
}

/* ---- gathernd_tf: B = product of i1.shape[0..batch_dims), K = i1.shape[indice_dims - 1],
 * C = i1.count / (B * K); o[b, c] = block of i0 (as [B, shape from batch_dims on]) at
 * (b, i1[b, c, 0..K)) ---- */

typedef struct {
  size_t batches, k, lookups, block; /* lookups: per batch; block: elements */
  size_t batch_stride;               /* elements of i0 per batch */
  size_t stride[4], limit[4];        /* of the K indexed dimensions */
} nd_state;

CVI_RC gathernd_tf_setup(cpu_call *call) {
  nd_state *s = cpu_alloc(call, 1, sizeof(*s));
  int32_t batch_dims = 0, indice_dims = 0;
  CVI_RC rc = s ? cpu_need(call, 2, 1) : CVI_RC_NOMEM;
  rc = rc ? rc : cpu_arg_int(call, "batch_dims", &batch_dims);
  rc = rc ? rc : cpu_arg_int(call, "indice_dims", &indice_dims);
  rc = rc ? rc : need_index(call, &call->in[1]);
  rc = rc ? rc : cpu_need_fmt(call, &call->in[0], call->out[0].fmt, "data");
  if (rc) {
    return rc;
  }
  const int32_t *shape = call->in[0].dim;
  if (batch_dims < 0 || batch_dims > 3 || indice_dims < 1 || indice_dims > 4 ||
      call->in[1].count == 0) {
    return cpu_fail(call, "batch_dims %d, indice_dims %d", batch_dims, indice_dims);
  }
  s->k = (size_t)call->in[1].dim[indice_dims - 1];
  s->batches = s->batch_stride = 1;
  for (int i = 0; i < 4; i++) {
    s->batches *= i < batch_dims ? (size_t)call->in[1].dim[i] : 1;
    s->batch_stride *= i >= batch_dims ? (size_t)shape[i] : 1;
  }
  if (s->k > (size_t)(4 - batch_dims) || call->in[1].count % (s->batches * s->k) ||
      s->batches * s->batch_stride > call->in[0].count) {
    return cpu_fail(call, "%zu indices per element do not fit the shapes", s->k);
  }
  s->lookups = (size_t)call->in[1].count / (s->batches * s->k);
  s->block = s->batch_stride;
  for (size_t i = 0; i < s->k; i++) {
    s->limit[i] = (size_t)shape[(size_t)batch_dims + i];
    s->block = s->limit[i] ? s->block / s->limit[i] : 0;
    s->stride[i] = s->block;
  }
  call->state = s;
  uint64_t need = (uint64_t)s->batches * s->lookups * s->block;
  return s->block ? cpu_need_count(call, &call->out[0], need, "output")
                  : cpu_fail(call, "empty data");
}

CVI_RC gathernd_tf_run(cpu_call *call) {
  const nd_state *s = call->state;
  size_t bytes = s->block * cpu_elem_size(call->in[0].fmt);
  uint8_t *out = call->out[0].data;
  for (size_t i = 0; i < s->batches * s->lookups; i++, out += bytes) {
    size_t at = i / s->lookups * s->batch_stride;
    for (size_t j = 0; j < s->k; j++) {
      size_t index = 0;
      CVI_RC rc = checked(call, index_at(&call->in[1], i * s->k + j), (int64_t)s->limit[j], &index);
      if (rc) {
        return rc;
      }
      at += index * s->stride[j];
    }
    memcpy(out, (const uint8_t *)call->in[0].data + at * cpu_elem_size(call->in[0].fmt), bytes);
  }
  return CVI_RC_SUCCESS;
}
