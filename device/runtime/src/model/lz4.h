/* LZ4 block decoder (formats/cvimodel.md section 10: one raw block, no frame). */
#ifndef TPUFORGE_LZ4_H
#define TPUFORGE_LZ4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decode `src` into exactly `dst_size` bytes; false if the block is damaged or has another length.
 */
bool lz4_decode(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size);

#endif
