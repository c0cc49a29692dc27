/* Readers of the point formats, from memory. Values may still be non-finite: fm_points_read() checks.
 *
 * Errors of all: FM_EFORMAT says what is wrong and where; FM_ENOMEM. Thread: any. */
#ifndef FM_POINTS_PRIVATE_H
#define FM_POINTS_PRIVATE_H

#include "engine/checkpoint/points.h"

/* NumPy's format, versions 1 and 2: "<f4" or "<f8", C order, two axes.
 * Source: NumPy, numpy.lib.format. */
FM_MUST_USE fm_status fm_points_parse_npy(const char *bytes, size_t length, fm_points *ret,
                                          fm_error *err);

/* One point a line, numbers separated by commas, no header; lines end with LF or CRLF; the last may be
 * blank.
 *   text  [length] with a NUL behind it */
FM_MUST_USE fm_status fm_points_parse_csv(const char *text, size_t length, fm_points *ret,
                                          fm_error *err);

#endif
