/* log_likelihood of tokens: the evidence lower bound, which takes draws and no solver. */
#include "proto/lat_lon.h"
#include "proto/parse.h"

#define BASE_DRAWS 128

bool fmp_parse_bounds(const fmp_parse *parse)
{
    return parse->route == FMP_API_LOG_LIKELIHOOD && fmp_model_is_text(parse->model);
}

void fmp_parse_bound(fmp_parse *parse)
{
    static const fmp_field_id others[] = {FMP_FIELD_SOLVER, FMP_FIELD_DEQUANTIZE,
                                          FMP_FIELD_DIVERGENCE, FMP_FIELD_PROBES, FMP_FIELD_PROBE};
    fm_job_spec *spec = &parse->request->spec;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (parse->present[others[i]]) {
            fmp_parse_fail(parse, others[i],
                           "must be left out: of tokens there is a bound, which takes draws alone");
        }
    }
    int64_t draws = BASE_DRAWS;
    (void)fmp_parse_integer(parse->values[FMP_FIELD_DRAWS], &draws);
    spec->task = FM_TASK_BOUND;
    spec->log_likelihood = true;
    spec->bound_draws = (size_t)draws;
}
