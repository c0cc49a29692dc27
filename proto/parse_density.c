/* Log likelihoods and divergences: how they are found, and what they need. */
#include "proto/number.h"
#include "proto/parse.h"

#include <math.h>
#include <string.h>

/* Each kind of route has its own rows of the same three fields. */
typedef struct density_fields {
    fmp_field_id divergence, probes, probe;
} density_fields;

static density_fields fields_of(const fmp_parse *parse)
{
    if ((parse->route & FMP_API_STATES) != 0) {
        return (density_fields){FMP_FIELD_LOG_LIKELIHOOD_DIVERGENCE,
                                FMP_FIELD_LOG_LIKELIHOOD_PROBES, FMP_FIELD_LOG_LIKELIHOOD_PROBE};
    }
    return (density_fields){FMP_FIELD_DIVERGENCE, FMP_FIELD_PROBES, FMP_FIELD_PROBE};
}

static bool is_word(const fmp_parse *parse, fmp_field_id field, const char *word)
{
    const char *value = json_string_value(parse->values[field]);
    return value != NULL && strcmp(value, word) == 0;
}

static void refuse_probes(fmp_parse *parse, const density_fields *fields)
{
    const fmp_field_id ids[] = {fields->probes, fields->probe};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        if (parse->present[ids[i]]) {
            fmp_parse_fail(parse, ids[i], "is for the divergence hutchinson");
        }
    }
}

void fmp_parse_divergence(fmp_parse *parse)
{
    const density_fields fields = fields_of(parse);
    fm_divergence *divergence = &parse->request->spec.divergence;
    int64_t probes = 1;
    *divergence = (fm_divergence){.method = FM_DIVERGENCE_EXACT};
    json_t *wanted = parse->values[FMP_FIELD_LOG_LIKELIHOOD];
    parse->request->spec.log_likelihood =
        parse->route == FMP_API_LOG_LIKELIHOOD || json_is_true(wanted) || json_is_object(wanted);
    if (!is_word(parse, fields.divergence, "hutchinson")) {
        bool is_refused =
            parse->present[fields.divergence] && parse->values[fields.divergence] == NULL;
        if (!is_refused) {
            refuse_probes(parse, &fields);
        }
        return;
    }
    if (parse->values[fields.probes] != NULL) {
        (void)fmp_parse_integer(parse->values[fields.probes], &probes);
    }
    divergence->method = FM_DIVERGENCE_HUTCHINSON;
    divergence->n_probes = (size_t)probes;
    divergence->probe =
        is_word(parse, fields.probe, "gaussian") ? FM_PROBE_GAUSSIAN : FM_PROBE_RADEMACHER;
}

/* The density at the grid's earlier end is the source's. */
static void check_source(fmp_parse *parse, const char *pointer)
{
    const fm_solver *solver = &parse->request->spec.solver;
    if (solver->grid == NULL) {
        return;
    }
    double earlier = fmin(solver->grid[0], solver->grid[solver->n_grid - 1]);
    if (fabs(earlier - parse->source) > FMP_SOURCE_MARGIN) {
        char time[FMP_NUMBER_MAX_BYTES + 1], source[FMP_NUMBER_MAX_BYTES + 1];
        time[fmp_number_write_double(time, earlier)] = '\0';
        source[fmp_number_write_double(source, parse->source)] = '\0';
        fmp_parse_fail_at(
            parse, pointer,
            "needs a grid that reaches the source at %s, where the density is known; its "
            "earliest time is %s",
            source, time);
    }
}

void fmp_parse_check_density(fmp_parse *parse)
{
    const fm_job_spec *spec = &parse->request->spec;
    bool on_the_way = (spec->fields & FM_FIELD_BIT(FM_FIELD_LOG_DENSITY)) != 0;
    if ((!spec->log_likelihood && !on_the_way) || spec->solver.method == NULL) {
        return;
    }
    bool is_route = parse->route == FMP_API_LOG_LIKELIHOOD;
    const char *pointer = is_route               ? "/solver"
                          : spec->log_likelihood ? "/log_likelihood"
                                                 : "/trajectory/fields";
    if (!parse->model->has_divergence) {
        fmp_parse_fail_at(parse, is_route ? "/x" : pointer, FMP_NO_DIVERGENCE);
    }
    if (!fm_method_takes_density(spec->solver.method)) {
        fmp_parse_fail_at(
            parse, pointer,
            "needs a method that integrates the velocity alone: %s draws noise or knows the path",
            fm_method_describe(spec->solver.method)->name);
    }
    check_source(parse, pointer);
}
