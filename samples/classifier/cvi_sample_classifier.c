/* Classify a picture: resize 256 x 256, centre crop, normalise, run, print the five best classes.
 * With the defaults the preprocessing is that of the quick start's mobilenet_v2. */
#include "classify.h"

int main(int argc, char **argv) { return classifier_main(argc, argv, preprocess_image); }
