/* Which quantities of the flow a request asks for, and whether they have values where it asks. */
#include "proto/number.h"
#include "proto/parse.h"

#include <stdio.h>
#include <string.h>

static fm_field_id field_of(const char *name)
{
    unsigned id = 0;
    while (strcmp(fm_field_name((fm_field_id)id), name) != 0) {
        id++; /* the row's choices are names of fields */
    }
    return (fm_field_id)id;
}

/* Why the model does not have the field; NULL: it does. */
static const char *rule_broken_by(const fmp_parse *parse, fm_field_id id)
{
    const fm_model_info *model = parse->model;
    bool is_flat = model->geometry->is_flat;
    if (!is_flat && (id == FM_FIELD_SCORE || id == FM_FIELD_X0_HAT)) {
        return "must not have score and x0_hat where the model's space is not Euclidean";
    }
    if (id == FM_FIELD_SCORE && !model->has_score) {
        return "score is not known of this model: its noise and data were paired in training";
    }
    if (id == FM_FIELD_LOG_DENSITY && parse->route == FMP_API_VELOCITY && !model->has_log_density) {
        return "log_density of given points is not known of this model: it is no closed form "
               "(.../log_likelihood integrates it)";
    }
    return id == FM_FIELD_DIVERGENCE && !model->has_divergence ? FMP_NO_DIVERGENCE : NULL;
}

unsigned fmp_parse_wanted_fields(fmp_parse *parse, fmp_field_id field, fm_field_id fallback)
{
    json_t *list = parse->values[field];
    unsigned fields = list == NULL ? FM_FIELD_BIT(fallback) : 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        fm_field_id id = field_of(json_string_value(json_array_get(list, i)));
        const char *rule = rule_broken_by(parse, id);
        fields |= FM_FIELD_BIT(id);
        if (rule != NULL) {
            char pointer[64];
            (void)snprintf(pointer, sizeof pointer, "%s/%zu", fmp_field_at(field)->pointer, i);
            fmp_parse_fail_at(parse, pointer, "%s", rule);
        }
    }
    return fields;
}

void fmp_parse_check_fields_at(fmp_parse *parse, const char *pointer, double t)
{
    const fm_job_spec *spec = &parse->request->spec;
    for (unsigned id = 0; id < FM_N_FIELDS; id++) {
        if ((spec->fields & FM_FIELD_BIT(id)) != 0 &&
            rule_broken_by(parse, (fm_field_id)id) == NULL &&
            !fm_flow_has_field(parse->model, spec->path, (fm_field_id)id, t)) {
            char text[FMP_NUMBER_MAX_BYTES + 1];
            text[fmp_number_write_double(text, t)] = '\0';
            fmp_parse_fail_at(parse, pointer, "%s has no finite value at t = %s of this path",
                              fm_field_name((fm_field_id)id), text);
        }
    }
}
