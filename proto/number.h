/* Numbers to JSON text: the fewest digits that read back to the same value.
 *
 * Source: Giulietti, "The Schubfach way to render doubles", 2021; Adams, "Ryu: fast float-to-string
 * conversion", PLDI 2018. */
#ifndef FMP_NUMBER_H
#define FMP_NUMBER_H

#include "proto/buffer.h"

#define FMP_NUMBER_MAX_BYTES 32 /* room that either function needs */

/* Writes a finite value as JSON without a NUL; returns the length. Integers have no ".0"; the layout is
 * JavaScript's (plain from 1e-6, else with an exponent) but for -0, which stays "-0", and from 1e18 on, where
 * an exponent says that it is a real: integers beyond int64 are refused by many readers, ours among them.
 *   ret  room for FMP_NUMBER_MAX_BYTES, all of which may be overwritten */
size_t fmp_number_write_float(char *ret, float value);
size_t fmp_number_write_double(char *ret, double value);

/* A nested JSON array of the given shape, row-major; rank 0 is the bare number. Non-finite values,
 * which no result contains, are asserted against. */
void fmp_number_write_floats(fmp_buffer *buffer, const float *values, size_t rank,
                             const size_t *shape);
void fmp_number_write_doubles(fmp_buffer *buffer, const double *values, size_t rank,
                              const size_t *shape);

#endif
