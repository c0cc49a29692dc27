/* Made-up model descriptions and limits for the tests of proto/, and requests parsed with them. */
#ifndef TESTS_PROTO_CASE_H
#define TESTS_PROTO_CASE_H

#include "proto/api.h"
#include "proto/request.h"

/* Two-dimensional points; no labels; default solver: midpoint, 20 steps. */
fm_model_info proto_case_plain(void);
/* Shape [2, 3], three labels "zero", "one", "two" and the null index 3; closed form; adaptive default
 * (dopri5, rtol 1e-4). */
fm_model_info proto_case_labelled(void);
/* Labels 0 and 1 without a null class or names; sampled over [0.001, 0.999]. */
fm_model_info proto_case_without_null(void);
/* Images of three channels, [3, 2, 2], black at 0 and white at 2. */
fm_model_info proto_case_image(void);

/* Of the shape and the labels of labelled(), without a null class. */
fm_model_info proto_case_classifier(void);

/* Loaded beside the model of a request: "judge", a classifier; "two-moons", plain(); "weak", as labelled().
 * 1000 samples, 200 steps, 100 trajectory points, 20000 evaluations, 10 MB, 30 s of 60 s. */
fmp_limits proto_case_limits(void);

typedef fm_model_info proto_case_model(void); /* one of the above, or a test's own */

#define PROTO_CASE_SEED UINT64_C(424242) /* what is drawn for a request without one */

/* Parses a body under these limits, from memory that ends where it ends. */
bool proto_case_parse(proto_case_model *make, fmp_api_route route, const char *body,
                      fmp_request *ret, fmp_problem *problem);
/* A request that must parse; released by fmp_request_done(). */
fmp_request proto_case_sample(proto_case_model *make, const char *body);
/* Whether the problem lists "pointer start of the detail". */
bool proto_case_has_error(const fmp_problem *problem, const char *expected);

#endif
