/* Labels: the class of every row. */
#include "proto/parse.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* A name, or -1. */
static int32_t label_of_name(const fm_model_info *model, const char *name)
{
    for (size_t i = 0; i < model->n_label_names; i++) {
        if (strcmp(model->label_names[i], name) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

static void fail_label(fmp_parse *parse, const fm_model_info *model, const char *pointer)
{
    const char *named = model->n_label_names > 0 ? ", a name that the model lists" : "";
    char null_index[32] = "";
    if (model->has_null_label && model->null_label >= model->label_count) {
        (void)snprintf(null_index, sizeof null_index, ", %d", (int)model->null_label);
    }
    /* A comma before "or" where it ends a list of three. */
    const char *or_null = !model->has_null_label                      ? ""
                          : named[0] != '\0' && null_index[0] == '\0' ? ", or null"
                                                                      : " or null";
    fmp_parse_fail_at(parse, pointer, "must be an integer from 0 to %d%s%s%s",
                      (int)model->label_count - 1, named, null_index, or_null);
}

bool fmp_parse_label(fmp_parse *parse, const fm_model_info *model, json_t *value,
                     const char *pointer, int32_t *ret)
{
    int64_t label = -1;
    if (json_is_null(value)) {
        if (!model->has_null_label) {
            fmp_parse_fail_at(parse, pointer, "must be a label: the model has no null class");
            return false;
        }
        label = model->null_label;
    } else if (json_is_string(value)) {
        label = label_of_name(model, json_string_value(value));
    } else if (!fmp_parse_integer(value, &label)) {
        label = -1;
    }
    bool is_null = model->has_null_label && label == model->null_label;
    if (!is_null && (label < 0 || label >= model->label_count)) {
        fail_label(parse, model, pointer);
        return false;
    }
    *ret = (int32_t)label;
    return true;
}

static void read_list(fmp_parse *parse, fmp_field_id field, const fm_model_info *model,
                      int32_t *labels)
{
    json_t *list = parse->values[field];
    size_t n_rows = parse->request->spec.n_rows;
    size_t found = json_array_size(list), limit = parse->limits->max_samples;
    if (parse->route == FMP_API_INTERPOLATE) {
        fmp_parse_fail(parse, field, "must be one label, which is that of all points");
        return;
    }
    if (found < 1 || found > limit) {
        fmp_parse_fail(parse, field, "must have 1 to %zu entries, one a point; it has %zu", limit,
                       found);
        return;
    }
    if (found != n_rows) {
        fmp_parse_fail_length(parse, field, found);
        return;
    }
    for (size_t i = 0; i < n_rows; i++) {
        char pointer[FMP_POINTER_BYTES];
        (void)snprintf(pointer, sizeof pointer, "%s/%zu", fmp_field_at(field)->pointer, i);
        (void)fmp_parse_label(parse, model, json_array_get(list, i), pointer, &labels[i]);
    }
}

int32_t *fmp_parse_labels_of(fmp_parse *parse, fmp_field_id field, const fm_model_info *model)
{
    json_t *value = parse->values[field];
    size_t n_rows = parse->request->spec.n_rows;
    int32_t *labels = fmp_parse_alloc(parse, n_rows, sizeof *labels);
    if (labels == NULL) {
        return NULL;
    }
    const char *prefix = parse->prefix;
    parse->prefix = parse->from_defaults[field] ? "/defaults" : prefix;
    if (json_is_array(value)) {
        read_list(parse, field, model, labels);
    } else {
        int32_t label = 0;
        (void)fmp_parse_label(parse, model, value, fmp_field_at(field)->pointer, &label);
        for (size_t i = 0; i < n_rows; i++) {
            labels[i] = label;
        }
    }
    parse->prefix = prefix;
    return labels;
}

/* Whether labels are given, as they may or must be. */
static bool has_labels(fmp_parse *parse, fmp_field_id field)
{
    const fm_model_info *model = parse->model;
    if (!parse->present[field]) {
        if (model->has_labels && !model->has_null_label && !parse->defaults_only) {
            fmp_parse_fail(parse, field, "is required: the model has no null class");
        }
        return false;
    }
    if (!model->has_labels) {
        fmp_parse_fail(parse, field, "must be left out: the model has no labels");
        return false;
    }
    return parse->values[field] != NULL;
}

int32_t *fmp_parse_label_rows(fmp_parse *parse, fmp_field_id field)
{
    return has_labels(parse, field) ? fmp_parse_labels_of(parse, field, parse->model) : NULL;
}

void fmp_parse_labels(fmp_parse *parse)
{
    parse->request->labels = fmp_parse_label_rows(parse, FMP_FIELD_LABELS);
    parse->request->spec.labels = parse->request->labels;
}
