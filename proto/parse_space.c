/* Models whose points are not in flat space: what of a request is not for them, and whether points are theirs. */
#include "proto/lat_lon.h"
#include "proto/parse.h"

#include <stdio.h>
#include <string.h>

/* Fields that are made for sums of points, or that ask for quantities which are. */
static const fmp_field_id for_flat_space[] = {
    FMP_FIELD_SCHEDULER,          FMP_FIELD_STATS,
    FMP_FIELD_GUIDANCE_CHANNELS,  FMP_FIELD_GUIDANCE_RESCALE,
    FMP_FIELD_GUIDANCE_ZERO_STAR, FMP_FIELD_GUIDANCE_PROJECTION,
    FMP_FIELD_GUIDANCE_MODEL,     FMP_FIELD_GUIDANCE_CLASSIFIER,
};

void fmp_parse_check_space(fmp_parse *parse)
{
    const fm_model_info *model = parse->model;
    size_t n = sizeof for_flat_space / sizeof *for_flat_space;
    for (size_t i = 0; i < n && !model->geometry->is_flat; i++) {
        if (parse->present[for_flat_space[i]]) {
            fmp_parse_fail(parse, for_flat_space[i],
                           "is for models in Euclidean space; this one's space is %s",
                           model->space);
        }
    }
    if (model->geometry->is_flat && parse->present[FMP_FIELD_SOLVER_STEP]) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_STEP,
                       "is for models whose space is not Euclidean: there both are x + u");
    }
    json_t *coordinates = parse->values[FMP_FIELD_COORDINATES];
    bool lat_lon = coordinates != NULL && strcmp(json_string_value(coordinates), "lat_lon") == 0;
    if (lat_lon && !fmp_model_is_on_globe(model)) {
        fmp_parse_fail(
            parse, FMP_FIELD_COORDINATES,
            "must be cartesian: the model's points are not on the sphere of unit vectors "
            "of three numbers");
    }
    if (lat_lon && parse->request->encoding != FMP_ENCODING_JSON) {
        fmp_parse_fail(parse, FMP_FIELD_COORDINATES, "must be cartesian unless the answer is JSON");
    }
    parse->request->lat_lon = lat_lon;
    if (parse->present[FMP_FIELD_DRAWS] && !fmp_model_is_text(model)) {
        fmp_parse_fail(parse, FMP_FIELD_DRAWS, "is for models of tokens");
    }
    if (parse->present[FMP_FIELD_START] && model->has_tokens) {
        fmp_parse_fail(parse, FMP_FIELD_START,
                       "is not for models with tokens: there is no way from noise to them");
    }
    bool is_given = parse->present[FMP_FIELD_X0] || parse->route != FMP_API_SAMPLE;
    if (model->geometry->is_external && !is_given && !parse->defaults_only) {
        fmp_parse_fail(parse, FMP_FIELD_X0, "is required: the model's source is external");
    }
}

/* Where the point of row `row` whose first number is `at` is in the request: "/x1/3/0". */
static void point_pointer(const fmp_parse *parse, fmp_field_id field, size_t row, size_t at,
                          char *ret, size_t size_bytes)
{
    const fm_model_info *model = parse->model;
    const fm_space *space = model->geometry;
    size_t axes = space->is_product ? 0 : fm_space_axes(space->parts[0].id);
    size_t block = model->dimension;
    size_t used = (size_t)snprintf(ret, size_bytes, "%s/%zu", fmp_field_at(field)->pointer, row);
    for (size_t i = 0; i + axes < model->rank && used < size_bytes; i++) {
        block /= model->shape[i];
        used += (size_t)snprintf(ret + used, size_bytes - used, "/%zu", at / block);
        at %= block;
    }
}

bool fmp_parse_accept_points(fmp_parse *parse, fmp_field_id field, double *points, size_t n)
{
    const fm_space *space = parse->model->geometry;
    bool accepted = true;
    for (size_t i = 0; i < n && !space->is_flat; i++) {
        const char *rule = NULL;
        size_t at = 0;
        if (!fm_space_accept(space, points + i * space->states, &rule, &at)) {
            char pointer[FMP_POINTER_BYTES];
            point_pointer(parse, field, i, at, pointer, sizeof pointer);
            fmp_parse_fail_at(parse, pointer, "%s", rule);
            accepted = false;
        }
    }
    return accepted;
}
