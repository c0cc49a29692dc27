/* A reference flow: the request of flows/<name>.json and the tensors beside it, run by an engine. */
#ifndef TESTS_FLOW_CASE_H
#define TESTS_FLOW_CASE_H

#include "engine/checkpoint/tensors.h"
#include "engine/fm.h"

#include <jansson.h>

#define FLOW_MAX_STEPS 512
#define FLOW_MAX_TIMES 16

typedef struct flow_case {
    json_t *request;
    fm_tensors *tensors;
    fm_job_spec spec; /* borrows the arrays below */
    double grid[FLOW_MAX_STEPS + 1], times[FLOW_MAX_TIMES];
    double *x0;      /* [n][dimension] */
    int32_t *labels; /* [n] or NULL */
} flow_case;

/* Asserts on failure. */
void flow_case_open(flow_case *flow, const char *folder, const char *name, fm_model *model);
void flow_case_close(flow_case *flow);

/* A tensor as float64, freed by fm_free(); NULL when there is none of that name. */
double *flow_case_values(const flow_case *flow, const char *name, size_t *ret_count);

#endif
