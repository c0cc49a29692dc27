/* observation of an edit: the operator, what it gave, of how many samples, and what makes them fit. */
#include "proto/number.h"
#include "proto/observation.h"
#include "proto/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a matrix: a step may take a hundred products with it and as many with its transpose, during which its
 * worker hears of no cancellation. */
#define MAX_MATRIX_NUMBERS ((size_t)1 << 20)

/* ---- Which fields there are ---- */

/* What an operator is told beside y, by its name. */
static const struct {
    const char *operator_name;
    fmp_field_id field;
} parameters[] = {
    {"mask", FMP_FIELD_OBSERVATION_MASK},
    {"average_pool", FMP_FIELD_OBSERVATION_FACTOR},
    {"blur", FMP_FIELD_OBSERVATION_STD},
    {"matrix", FMP_FIELD_OBSERVATION_MATRIX},
};

#define N_PARAMETERS (sizeof parameters / sizeof *parameters)

/* Fields of an edit that begins at data. */
static void refuse_data(fmp_parse *parse)
{
    static const fmp_field_id fields[] = {FMP_FIELD_EDIT_X1, FMP_FIELD_SOURCE, FMP_FIELD_NOISE,
                                          FMP_FIELD_ROUND_TRIP};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (parse->present[fields[i]]) {
            fmp_parse_fail(parse, fields[i],
                           "must be left out where an observation is given: nothing is encoded");
        }
    }
}

static void require(fmp_parse *parse, fmp_field_id field)
{
    if (!parse->present[field]) {
        fmp_parse_fail(parse, field, "is required");
    }
}

/* Those of other operators would pass silently. False: the operator's own cannot be used. */
static bool check_parameters(fmp_parse *parse, const char *operator_name)
{
    bool usable = true;
    for (size_t i = 0; i < N_PARAMETERS; i++) {
        fmp_field_id field = parameters[i].field;
        if (strcmp(parameters[i].operator_name, operator_name) == 0) {
            require(parse, field);
            usable = parse->values[field] != NULL;
        } else if (parse->present[field]) {
            fmp_parse_fail(parse, field, "is not of operator %s", operator_name);
        }
    }
    return usable;
}

/* ---- The operator ---- */

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

/* One plane for all channels alike. */
static double *read_plane(fmp_parse *parse)
{
    const fm_model_info *model = parse->model;
    size_t pixels = model->shape[1] * model->shape[2];
    fmp_array array = {.name = "mask",
                       .least = model->shape[1],
                       .most = model->shape[1],
                       .rank = 2,
                       .shape = {model->shape[1], model->shape[2]}};
    double *plane = fmp_parse_array(parse, FMP_FIELD_OBSERVATION_MASK, &array);
    double *ret = plane == NULL ? NULL : fmp_parse_alloc(parse, model->dimension, sizeof *ret);
    for (size_t i = 0; ret != NULL && i < model->dimension; i++) {
        ret[i] = plane[i % pixels];
    }
    free(plane);
    return ret;
}

static double *read_mask(fmp_parse *parse)
{
    const fm_model_info *model = parse->model;
    if (model->rank == 3 && rank_of(parse->values[FMP_FIELD_OBSERVATION_MASK]) == 2) {
        return read_plane(parse);
    }
    fmp_array array = {
        .name = "mask", .least = model->shape[0], .most = model->shape[0], .rank = model->rank};
    memcpy(array.shape, model->shape, model->rank * sizeof *model->shape);
    return fmp_parse_array(parse, FMP_FIELD_OBSERVATION_MASK, &array);
}

static double *read_matrix(fmp_parse *parse, size_t n_rows)
{
    size_t dimension = parse->model->dimension, most = MAX_MATRIX_NUMBERS / dimension;
    most = most < dimension ? most : dimension;
    fmp_array array = {.name = "matrix",
                       .items = "rows",
                       .least = 1,
                       .most = most > 0 ? most : 1,
                       .rank = 2,
                       .shape = {n_rows, dimension}};
    return fmp_parse_array(parse, FMP_FIELD_OBSERVATION_MATRIX, &array);
}

/* The engine's rule begins with the member that breaks it; of the shape, it is the operator that wants another. */
static void fail_operator(fmp_parse *parse, const char *text)
{
    for (size_t i = 0; i < N_PARAMETERS; i++) {
        const char *name = fmp_field_name(fmp_field_at(parameters[i].field));
        size_t length = strlen(name);
        if (strncmp(text, name, length) == 0 && text[length] == ' ') {
            fmp_parse_fail(parse, parameters[i].field, "%s", text + length + 1);
            return;
        }
    }
    fmp_parse_fail(parse, FMP_FIELD_OBSERVATION_OPERATOR, "cannot be of this model: %s", text);
}

/* Fills forward. False where a rule is broken. */
static bool make_operator(fmp_parse *parse, fmp_observation *observation,
                          const fm_operator_type *type, fm_operator_options *options)
{
    fm_error error;
    options->rank = parse->model->rank;
    memcpy(options->shape, parse->model->shape, sizeof options->shape);
    options->values = observation->values;
    fm_status status = fm_operator_init(&observation->forward, type, options, &error);
    if (status == FM_ENOMEM) {
        parse->out_of_memory = true;
    } else if (status != FM_OK) {
        fail_operator(parse, error.text);
    }
    return status == FM_OK;
}

static bool read_operator(fmp_parse *parse, fmp_observation *observation)
{
    json_t *value = parse->values[FMP_FIELD_OBSERVATION_OPERATOR];
    require(parse, FMP_FIELD_OBSERVATION_OPERATOR);
    if (value == NULL || !check_parameters(parse, json_string_value(value))) {
        return false;
    }
    const char *name = json_string_value(value);
    size_t dimension = parse->model->dimension;
    fm_operator_options options = {.n_rows = 0};
    int64_t factor = 0;
    if (fmp_parse_integer(parse->values[FMP_FIELD_OBSERVATION_FACTOR], &factor)) {
        options.factor = (size_t)factor;
    }
    options.std = json_number_value(parse->values[FMP_FIELD_OBSERVATION_STD]);
    bool is_mask = strcmp(name, "mask") == 0, is_matrix = strcmp(name, "matrix") == 0;
    if (is_mask) {
        observation->values = read_mask(parse);
        observation->n_values = dimension;
    }
    if (is_matrix) {
        options.n_rows = fmp_parse_tensor_rows(parse->values[FMP_FIELD_OBSERVATION_MATRIX]);
        observation->values = read_matrix(parse, options.n_rows);
        observation->n_values = options.n_rows * dimension;
    }
    if ((is_mask || is_matrix) && observation->values == NULL) {
        return false;
    }
    return make_operator(parse, observation, fm_operator_type_find(name), &options);
}

/* ---- The observations ---- */

/* Of n: pooled and gray images have other lengths than x, a matrix has a list. */
static fmp_array array_of(const fmp_parse *parse, const fm_operator *forward, size_t n)
{
    const fm_model_info *model = parse->model;
    size_t m = forward->observation_dimension;
    fmp_array array = {.name = "y",
                       .items = "observations",
                       .least = 1,
                       .most = parse->limits->max_samples,
                       .rank = model->rank + 1,
                       .shape = {n}};
    memcpy(array.shape + 1, model->shape, model->rank * sizeof *model->shape);
    if (forward->factor > 0) {
        array.shape[2] = forward->height / forward->factor;
        array.shape[3] = forward->width / forward->factor;
    } else if (strcmp(fm_operator_type_name(forward->type), "matrix") == 0) {
        array.rank = 2;
        array.shape[1] = m;
    } else if (m != forward->dimension) {
        array.shape[1] = 1;
    }
    return array;
}

static void read_observations(fmp_parse *parse, fmp_observation *observation)
{
    fm_inverse *inverse = &observation->inverse;
    json_t *std = parse->values[FMP_FIELD_OBSERVATION_NOISE_STD];
    size_t n = fmp_parse_tensor_rows(parse->values[FMP_FIELD_OBSERVATION_Y]);
    fmp_array array = array_of(parse, &observation->forward, n);
    observation->y = fmp_parse_array(parse, FMP_FIELD_OBSERVATION_Y, &array);
    observation->scratch = fmp_parse_alloc(parse, fm_operator_misfit_scratch(&observation->forward),
                                           sizeof *observation->scratch);
    inverse->forward = &observation->forward;
    inverse->observations = observation->y;
    inverse->n_observations = n;
    inverse->observation_std = std != NULL ? json_number_value(std) : 0;
}

/* One of each observation, or any number of one; within 1 and the limit. */
static size_t count_samples(fmp_parse *parse)
{
    json_t *value = parse->values[FMP_FIELD_EDIT_NUM_SAMPLES];
    size_t n = fmp_parse_tensor_rows(parse->values[FMP_FIELD_OBSERVATION_Y]);
    int64_t samples = 0;
    bool countable = n >= 1 && n <= parse->limits->max_samples;
    n = countable ? n : 1;
    if (!fmp_parse_integer(value, &samples)) {
        return n;
    }
    if (n > 1 && (size_t)samples != n) {
        fmp_parse_fail(parse, FMP_FIELD_EDIT_NUM_SAMPLES,
                       "must be left out, or as many as y has observations: %zu", n);
        return n;
    }
    return (size_t)samples;
}

/* ---- The method ---- */

#define GRADIENT_FROM 0.05 /* from 0 on, the digits' samples are ruined by the first step */

static void read_gradient(fmp_parse *parse, fm_inverse *inverse)
{
    const fm_model_info *model = parse->model;
    json_t *scale = parse->values[FMP_FIELD_OBSERVATION_SCALE];
    inverse->guidance_scale = scale != NULL ? json_number_value(scale) : 1;
    json_t *from = parse->values[FMP_FIELD_OBSERVATION_FROM];
    inverse->guidance_from = from != NULL ? json_number_value(from) : GRADIENT_FROM;
    if (inverse->guidance_scale == 0.0) {
        fmp_parse_fail(parse, FMP_FIELD_OBSERVATION_SCALE,
                       "must not be 0: nothing would be observed");
    }
    if (model->has_gradients) {
        return;
    }
    bool is_potential = strcmp(model->prediction, "potential") == 0;
    fmp_parse_fail(parse, FMP_FIELD_OBSERVATION_METHOD,
                   "gradient needs a velocity that can be differentiated: %s",
                   is_potential ? "this model's is the gradient of a potential already"
                                : "the daemon keeps the weights that it takes of models up to the "
                                  "size of engine.gradient_weights");
}

static void refuse_gradients_keys(fmp_parse *parse, fmp_observation_method method)
{
    static const fmp_field_id keys[] = {FMP_FIELD_OBSERVATION_SCALE, FMP_FIELD_OBSERVATION_FROM};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (parse->present[keys[i]]) {
            fmp_parse_fail(parse, keys[i], "is not of method %s",
                           fmp_observation_method_name(method));
        }
    }
}

static void read_method(fmp_parse *parse, fmp_observation *observation)
{
    json_t *name = parse->values[FMP_FIELD_OBSERVATION_METHOD];
    if (name != NULL) {
        observation->method = fmp_observation_method_find(json_string_value(name));
    }
    if (observation->method == FMP_OBSERVATION_GRADIENT) {
        read_gradient(parse, &observation->inverse);
    } else {
        refuse_gradients_keys(parse, observation->method);
    }
    observation->inverse.replaces = observation->method == FMP_OBSERVATION_REPLACEMENT;
    if (observation->inverse.replaces && parse->model->paired) {
        fmp_parse_fail(parse, FMP_FIELD_OBSERVATION_METHOD,
                       "replacement needs independent noise, which this model has not: its noise "
                       "and data were paired in training");
    }
}

void fmp_parse_observation(fmp_parse *parse)
{
    fmp_request *request = parse->request;
    refuse_data(parse);
    request->spec.n_rows = count_samples(parse);
    if (parse->values[FMP_FIELD_OBSERVATION] == NULL) {
        return; /* refused */
    }
    fmp_observation *observation = fmp_parse_alloc(parse, 1, sizeof *observation);
    if (observation == NULL) {
        return;
    }
    request->observation = observation;
    require(parse, FMP_FIELD_OBSERVATION_Y);
    if (read_operator(parse, observation) && parse->values[FMP_FIELD_OBSERVATION_Y] != NULL) {
        read_observations(parse, observation);
    }
    read_method(parse, observation);
    request->spec.inverse = &observation->inverse;
}

/* ---- The solver ---- */

static void check_method(fmp_parse *parse, fmp_observation_method by)
{
    const fm_method *method = parse->request->spec.solver.method;
    const char *name = fm_method_describe(method)->name;
    bool is_pnp = fm_method_needs_inverse(method);
    if (by == FMP_OBSERVATION_PNP_FLOW && !is_pnp) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_METHOD,
                       "must be left out or pnp_flow, which observation.method is");
    } else if (by != FMP_OBSERVATION_PNP_FLOW && is_pnp) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_METHOD,
                       "%s solves inverse problems by itself: observation.method must be pnp_flow",
                       name);
    } else if (by == FMP_OBSERVATION_REPLACEMENT && !fm_method_takes_replacement(method)) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_METHOD,
                       "replacement needs a fixed grid and a method that uses no velocity of "
                       "earlier steps again; %s is none",
                       name);
    }
}

/* What is observed lies at the end of a path. Noise is drawn where it begins, but not of what begins at the least state
 * that has the observation. */
static void check_grid(fmp_parse *parse, fmp_observation_method by)
{
    const fm_solver *solver = &parse->request->spec.solver;
    double first = solver->grid[0], last = solver->grid[solver->n_grid - 1];
    bool draws = by != FMP_OBSERVATION_PNP_FLOW;
    if (first < 0 || last > 1) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_TIME_GRID,
                       "must lie within 0 to 1 where something is observed");
    } else if (draws && fabs(first - parse->source) > FMP_SOURCE_MARGIN) {
        char source[FMP_NUMBER_MAX_BYTES + 1];
        source[fmp_number_write_double(source, parse->source)] = '\0';
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_TIME_GRID,
                       "must begin at the source, %s, where noise is drawn", source);
    }
}

void fmp_parse_check_observation(fmp_parse *parse)
{
    const fmp_observation *observation = parse->request->observation;
    const fm_solver *solver = &parse->request->spec.solver;
    bool is_pnp = fm_method_needs_inverse(solver->method);
    if (is_pnp && !parse->present[FMP_FIELD_OBSERVATION]) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_METHOD,
                       "%s solves inverse problems alone: it needs an observation",
                       fm_method_describe(solver->method)->name);
    }
    if (observation == NULL) {
        return;
    }
    check_method(parse, observation->method);
    if (solver->grid != NULL) {
        check_grid(parse, observation->method);
    }
}
