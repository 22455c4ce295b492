/* The orientation that a camera writes into a JPEG file (tag 0x0112 of the first image directory).
 */
#ifndef SAMPLES_EXIF_H
#define SAMPLES_EXIF_H

#include "image.h"

/* 1..8; 1 (upright) when there is none or it makes no sense. */
int exif_orientation(const uint8_t *data, size_t size);

/* Turn a picture upright. Orientation 2: mirrored left to right, 3: half turn, 4: mirrored top to
 * bottom, 5: transposed, 6: needs a quarter turn clockwise, 7: transposed along the other diagonal,
 * 8: needs a quarter turn anticlockwise. */
bool image_turn(Image *image, int orientation);

#endif
