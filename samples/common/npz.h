/* The .npz format of numpy: a ZIP archive of .npy files. Read: members that are stored (np.savez)
 * or deflated (np.savez_compressed), their checksums verified; written stored. */
#ifndef SAMPLES_NPZ_H
#define SAMPLES_NPZ_H

#include "npy.h"

typedef struct {
  char *name; /* without .npy */
  Array array;
} Member;

typedef struct {
  Member *members;
  size_t count;
} Npz;

/* False after a message. */
bool npz_load(Npz *npz, const char *path);
bool npz_save(const Npz *npz, const char *path);
void npz_free(Npz *npz);

/* The member of that name, or NULL. */
const Array *npz_find(const Npz *npz, const char *name);

#endif
