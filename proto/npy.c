/* The .npy format, version 1.0: magic, version, header length, a Python dictionary padded with spaces
 * so that the data starts at a multiple of 64 bytes.
 * Source: numpy.lib.format, NEP 1. */
#include "proto/tensor.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define PREFIX_BYTES    10
#define ALIGNMENT_BYTES 64

void fmp_npy_write_header(fmp_buffer *buffer, size_t rank, const size_t *shape)
{
    assert(rank >= 2 && rank <= FM_MAX_RANK + 1); /* a tuple of one would end in a comma */
    char text[512] = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
    size_t length = strlen(text);
    for (size_t i = 0; i < rank; i++) {
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%zu", i > 0 ? ", " : "",
                                   shape[i]);
    }
    length += (size_t)snprintf(text + length, sizeof text - length, "), }");
    assert(length + ALIGNMENT_BYTES < sizeof text);
    while ((PREFIX_BYTES + length + 1) % ALIGNMENT_BYTES != 0) {
        text[length++] = ' ';
    }
    text[length++] = '\n';
    const unsigned char prefix[PREFIX_BYTES] = {0x93,
                                                'N',
                                                'U',
                                                'M',
                                                'P',
                                                'Y',
                                                1,
                                                0,
                                                (unsigned char)(length & 0xff),
                                                (unsigned char)(length >> 8)};
    fmp_buffer_append(buffer, prefix, sizeof prefix);
    fmp_buffer_append(buffer, text, length);
}
