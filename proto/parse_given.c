/* given of a sample: tokens that stay as they are while the others are drawn (infilling). */
#include "proto/lat_lon.h"
#include "proto/parse.h"

#include <stdlib.h>
#include <string.h>

/* Tokens of every row: those of the request, or its one row's for all. malloc()ed. */
static double *read_tokens(fmp_parse *parse, size_t n_rows)
{
    size_t dimension = parse->model->dimension;
    size_t found = fmp_parse_tensor_rows(parse->values[FMP_FIELD_GIVEN_X]);
    if (found != 1 || n_rows == 1) {
        return fmp_parse_states(parse, FMP_FIELD_GIVEN_X, n_rows);
    }
    double *one = fmp_parse_tensor(parse, FMP_FIELD_GIVEN_X, 1);
    double *all = one == NULL ? NULL : fmp_parse_alloc(parse, n_rows * dimension, sizeof *all);
    for (size_t i = 0; all != NULL && i < n_rows; i++) {
        memcpy(all + i * dimension, one, dimension * sizeof *all);
    }
    free(one);
    return all;
}

/* How deep the lists lie, as far as their first entries tell. */
static size_t rank_of(json_t *value)
{
    if (json_is_object(value)) {
        return json_array_size(json_object_get(value, "shape"));
    }
    size_t rank = 0;
    for (; json_is_array(value) && rank <= FM_MAX_RANK; rank++) {
        value = json_array_get(value, 0);
    }
    return rank;
}

/* [...shape], the same for all, or [num_samples, ...shape]; *ret_rows: 1 or n_rows. */
static double *read_mask(fmp_parse *parse, size_t n_rows, size_t *ret_rows)
{
    const fm_model_info *model = parse->model;
    bool is_one = rank_of(parse->values[FMP_FIELD_GIVEN_MASK]) == model->rank;
    size_t lead = is_one ? 0 : 1, first = is_one ? model->shape[0] : n_rows;
    fmp_array array = {
        .name = "mask", .items = "rows", .least = first, .most = first, .rank = model->rank + lead};
    memcpy(array.shape + lead, model->shape, model->rank * sizeof *model->shape);
    array.shape[0] = first;
    *ret_rows = is_one ? 1 : n_rows;
    return fmp_parse_array(parse, FMP_FIELD_GIVEN_MASK, &array);
}

/* Flags of every row; false where one is neither 0 nor 1. */
static bool make_flags(fmp_parse *parse, const double *mask, size_t n_mask_rows)
{
    fmp_request *request = parse->request;
    size_t dimension = parse->model->dimension, n = request->spec.n_rows * dimension;
    request->given = fmp_parse_alloc(parse, n, sizeof *request->given);
    for (size_t i = 0; request->given != NULL && i < n; i++) {
        double value = mask[i % (n_mask_rows * dimension)];
        if (value != 0 && value != 1) {
            fmp_parse_fail(parse, FMP_FIELD_GIVEN_MASK, "must hold 0 and 1 alone");
            return false;
        }
        request->given[i] = value == 1;
    }
    return request->given != NULL;
}

static bool has_members(fmp_parse *parse)
{
    static const fmp_field_id members[] = {FMP_FIELD_GIVEN_X, FMP_FIELD_GIVEN_MASK};
    bool usable = true;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (!parse->present[members[i]]) {
            fmp_parse_fail(parse, members[i], "is required");
        }
        usable = usable && parse->values[members[i]] != NULL;
    }
    return usable;
}

void fmp_parse_given(fmp_parse *parse)
{
    fmp_request *request = parse->request;
    if (!parse->present[FMP_FIELD_GIVEN]) {
        return;
    }
    if (!fmp_model_is_text(parse->model)) {
        fmp_parse_fail(parse, FMP_FIELD_GIVEN, "is for models of tokens; this one's space is %s",
                       parse->model->space);
        return;
    }
    if (parse->present[FMP_FIELD_X0]) {
        fmp_parse_fail(parse, FMP_FIELD_GIVEN, "must be left out where x0 is given");
        return;
    }
    if (!has_members(parse)) {
        return;
    }
    size_t n_mask_rows = 0;
    double *tokens = read_tokens(parse, request->spec.n_rows);
    double *mask = read_mask(parse, request->spec.n_rows, &n_mask_rows);
    bool made = tokens != NULL && mask != NULL && make_flags(parse, mask, n_mask_rows);
    free(mask);
    request->x = tokens;
    request->spec.x = made ? request->x : NULL;
    request->spec.given = made ? request->given : NULL;
}
