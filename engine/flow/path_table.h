/* A scheduler given by points: alpha and sigma are monotone cubics between them.
 *
 * Slopes at the points are the harmonic means of the neighbouring secants, weighted by the intervals, which
 * keeps each piece monotone; at the ends a parabola's, bounded.
 * Source: Fritsch and Butland, "A method for constructing local monotone piecewise cubic interpolants",
 * SIAM J. Sci. Stat. Comput. 5 (1984). */
#ifndef FM_PATH_TABLE_H
#define FM_PATH_TABLE_H

#include "engine/flow/path.h"

/* t in [0, 1]; all but sigma_d_sigma. */
fm_path_point fm_path_table_at(const fm_path_table *table, double t);
/* As fm_path_time_of(), of a source of standard deviation 1. */
double fm_path_table_time_of(const fm_path_table *table, double alpha, double sigma);

#endif
