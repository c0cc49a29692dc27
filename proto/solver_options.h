/* Options of single methods: the fields of a request that are members of fm_sampling. */
#ifndef FMP_SOLVER_OPTIONS_H
#define FMP_SOLVER_OPTIONS_H

#include "proto/parse.h"

typedef struct fmp_json fmp_json;

/* Fills spec.solver.sampling; the method must be known. Refuses what it does not read. */
void fmp_parse_solver_options(fmp_parse *parse);
/* After the grid: what must have a value at its first time. */
void fmp_parse_check_diffusion(fmp_parse *parse);
/* The members that the method reads. */
void fmp_solver_options_write(fmp_json *json, const fm_solver *solver);

#endif
