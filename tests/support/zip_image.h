/* Builds zip archives in memory, byte by byte, so that they can lie. Records are stored. */
#ifndef TESTS_ZIP_IMAGE_H
#define TESTS_ZIP_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct zip_image_record {
    const char *name;
    const void *data; /* NULL: zeros */
    size_t size_bytes;
    bool lies;               /* then the directory says: */
    uint32_t declared_bytes; /* unpacked size */
    uint32_t packed_bytes;   /* and this one */
    uint16_t method;         /* 0 stored, 8 deflated */
    uint16_t flags;          /* 1: encrypted */
} zip_image_record;

typedef struct zip_image {
    unsigned char *data; /* [size_bytes], from malloc() at exactly this size */
    size_t size_bytes;
} zip_image;

zip_image zip_image_make(const zip_image_record *records, size_t count);
/* "a/data.pkl" of these bytes, and data/0 and data/1: 48 bytes each of float32 0, 1, 2, … */
zip_image zip_image_make_pickle(const void *pickle, size_t length);
void zip_image_free(zip_image *image);

#endif
