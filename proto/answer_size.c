/* How many bytes a request has, and its answer and recordings may have, before anything is computed. */
#include "proto/base64.h"
#include "proto/json.h"
#include "proto/number.h"
#include "proto/observation.h"
#include "proto/png.h"
#include "proto/stages.h"

#include <stdint.h>

/* "-0.00000123456789," and the brackets of its list's share; the longest double and its comma. */
#define JSON_FLOAT_BYTES  20
#define JSON_DOUBLE_BYTES (FMP_NUMBER_MAX_BYTES + 1)
#define ENVELOPE_BYTES    2048 /* id, model, solver, the keys */
#define ROW_STATS_BYTES   128  /* three counts, a status and a time of every row */
/* Accepted steps of an adaptive trajectory, which nobody knows before: more than most need. */
#define ADAPTIVE_STEPS_GUESS 100

static size_t add(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static size_t multiply(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

/* Of an array that may not be there. */
static size_t array_bytes(const void *array, size_t count, size_t element_bytes)
{
    return array == NULL ? 0 : multiply(count, element_bytes);
}

/* What a request of several jobs has beside its last one's. */
static size_t stages_bytes(const fmp_stages *stages, size_t n_grid)
{
    if (stages == NULL) {
        return 0;
    }
    size_t given = multiply(stages->n_given, stages->dimension);
    size_t states = multiply(stages->n_rows, stages->dimension);
    size_t total = array_bytes(stages->given, given, sizeof *stages->given);
    total = add(total, array_bytes(stages->encoded, given, sizeof *stages->encoded));
    total = add(total, array_bytes(stages->latents, states, sizeof *stages->latents));
    total = add(total, array_bytes(stages->backward, n_grid, sizeof *stages->backward));
    total = add(total, array_bytes(stages->weights, stages->n_rows, sizeof *stages->weights));
    size_t of_point = sizeof *stages->earlier;
    of_point += stages->errors != NULL ? sizeof *stages->errors : 0;
    of_point += stages->source_labels != NULL ? sizeof *stages->source_labels : 0;
    return add(total, multiply(stages->n_given, of_point));
}

size_t fmp_request_array_bytes(const fmp_request *request, const fm_model_info *model)
{
    const fm_job_spec *spec = &request->spec;
    size_t n_points = spec->draws > 0 ? spec->n_rows / spec->draws : spec->n_rows;
    size_t n_values = multiply(n_points, model->dimension);
    size_t total = array_bytes(request->x, n_values, sizeof *request->x);
    total = add(total, array_bytes(request->t, spec->n_rows, sizeof *request->t));
    total = add(total, array_bytes(request->given, n_values, sizeof *request->given));
    const int32_t *labels[] = {request->labels, request->negative_labels,
                               request->classifier_labels};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        total = add(total, array_bytes(labels[i], spec->n_rows, sizeof *labels[i]));
    }
    total =
        add(total, array_bytes(request->guidance_t, 2 * spec->guidance.schedule.n, sizeof(double)));
    total = add(total, array_bytes(request->grid, spec->solver.n_grid, sizeof *request->grid));
    total = add(total, array_bytes(request->path, 1, sizeof *request->path));
    total = add(total, fm_path_table_bytes(request->path_table));
    total = add(total, stages_bytes(request->stages, spec->solver.n_grid));
    total = add(total, fmp_observation_bytes(request->observation));
    size_t n_diffusion = spec->solver.sampling.diffusion.n;
    total = add(total, array_bytes(request->diffusion_t, 2 * n_diffusion, sizeof(double)));
    return add(total, array_bytes(request->output_times, spec->n_output_times,
                                  sizeof *request->output_times));
}

static size_t number_bytes(fmp_encoding encoding, bool is_double)
{
    if (encoding != FMP_ENCODING_BASE64) {
        return is_double ? JSON_DOUBLE_BYTES : JSON_FLOAT_BYTES;
    }
    /* base64: four bytes for three, rounded up */
    return is_double ? 11 : 6;
}

static size_t count_fields(unsigned fields)
{
    size_t n = 0;
    for (unsigned id = 0; id < FM_N_VECTOR_FIELDS; id++) {
        n += (fields & FM_FIELD_BIT(id)) != 0;
    }
    return n;
}

static size_t count_states(const fmp_request *request)
{
    const fm_job_spec *spec = &request->spec;
    if (!spec->output_every_step) {
        return spec->n_output_times;
    }
    return fm_method_describe(spec->solver.method)->adaptive ? ADAPTIVE_STEPS_GUESS
                                                             : spec->solver.n_grid;
}

/* Numbers of a state: log density, divergence. */
static size_t count_numbers(unsigned fields)
{
    size_t n = 0;
    for (unsigned id = FM_N_VECTOR_FIELDS; id < FM_N_FIELDS; id++) {
        n += (fields & FM_FIELD_BIT(id)) != 0;
    }
    return n;
}

/* Of a sample as its own string; the quotes and the comma are within the 16. */
static size_t picture_string_bytes(const fm_model_info *model)
{
    fmp_image image;
    size_t bytes = fmp_image_of(model, &image) ? fmp_png_bytes(&image, 1) : SIZE_MAX;
    return bytes == SIZE_MAX ? SIZE_MAX : add(16, fmp_base64_encoded_length(bytes));
}

/*   last_bytes   of a sample itself
 *   state_bytes  of each field of each state on the way */
static size_t sample_bytes(const fmp_request *request, size_t last_bytes, size_t state_bytes)
{
    const fm_job_spec *spec = &request->spec;
    size_t n_states = count_states(request);
    size_t time_bytes = number_bytes(request->encoding, true);
    size_t output_bytes = add(multiply(count_fields(spec->fields), state_bytes),
                              count_numbers(spec->fields) * time_bytes);
    size_t n_measures = (size_t)request->wants_straightness + request->wants_kinetic_energy +
                        request->wants_curvature;
    size_t n_numbers = n_measures + 3 * (size_t)spec->log_likelihood; /* with its error, bits */
    size_t stats_bytes = ROW_STATS_BYTES + n_numbers * JSON_DOUBLE_BYTES;
    size_t row = add(add(stats_bytes, last_bytes), multiply(n_states, output_bytes));
    bool own_times = spec->output_every_step && fm_method_describe(spec->solver.method)->adaptive;
    size_t times = multiply(n_states, time_bytes);
    size_t total = multiply(spec->n_rows, add(row, own_times ? times : 0));
    total = add(total, own_times ? 0 : times);
    return add(total, multiply(spec->solver.n_grid, time_bytes));
}

size_t fmp_request_answer_bytes(const fmp_request *request, const fm_model_info *model)
{
    const fm_job_spec *spec = &request->spec;
    if (request->encoding == FMP_ENCODING_NPY) {
        size_t values = multiply(spec->n_rows, model->dimension);
        return add(256, multiply(values, sizeof(float)));
    }
    fmp_image image;
    if (request->encoding == FMP_ENCODING_PNG_GRID) {
        return fmp_image_of(model, &image) ? fmp_png_bytes(&image, spec->n_rows) : SIZE_MAX;
    }
    /* A state's brackets, commas and the base64 of its last bytes are within the 64. */
    size_t state_bytes =
        add(64, multiply(model->dimension, number_bytes(request->encoding, false)));
    if (spec->task == FM_TASK_SAMPLE) {
        bool is_png = request->encoding == FMP_ENCODING_PNG;
        size_t last_bytes = is_png ? picture_string_bytes(model) : state_bytes;
        last_bytes = request->route == FMP_API_LOG_LIKELIHOOD ? 0 : last_bytes;
        size_t name_bytes = multiply(FMP_JSON_TEXT_GROWTH, model->longest_name);
        last_bytes = add(last_bytes, multiply(model->dimension, name_bytes)); /* as text */
        if (request->observation != NULL) {                                   /* the residual */
            last_bytes = add(last_bytes, number_bytes(request->encoding, true));
        }
        if (request->stages != NULL) { /* the latent, its weight and its error */
            last_bytes =
                add(last_bytes, add(state_bytes, 2 * number_bytes(request->encoding, true)));
        }
        return add(ENVELOPE_BYTES, sample_bytes(request, last_bytes, state_bytes));
    }
    if (spec->task == FM_TASK_BOUND) { /* with its error and its perplexity */
        size_t row_bytes = ROW_STATS_BYTES + 3 * number_bytes(request->encoding, true);
        return add(ENVELOPE_BYTES, multiply(spec->n_rows, row_bytes));
    }
    size_t row = multiply(count_fields(spec->fields), state_bytes);
    row = add(row, count_numbers(spec->fields) * number_bytes(request->encoding, true));
    return add(ENVELOPE_BYTES, multiply(spec->n_rows, row));
}

size_t fmp_request_writer_bytes(const fmp_request *request, const fm_model_info *model)
{
    bool is_grid = request->encoding == FMP_ENCODING_PNG_GRID;
    fmp_image image;
    if ((!is_grid && request->encoding != FMP_ENCODING_PNG) || !fmp_image_of(model, &image)) {
        return 0;
    }
    size_t pixels = fmp_png_pixel_bytes(&image, is_grid ? request->spec.n_rows : 1);
    size_t one = is_grid ? 0 : fmp_png_bytes(&image, 1); /* before it becomes base64 */
    return add(FMP_PNG_WRITER_BYTES, add(pixels, one));
}

static bool records_adaptive_steps(const fm_job_spec *spec)
{
    return spec->task == FM_TASK_SAMPLE && spec->output_every_step &&
           fm_method_describe(spec->solver.method)->adaptive;
}

size_t fmp_request_recording_bytes(const fmp_request *request, const fm_model_info *model)
{
    const fm_job_spec *spec = &request->spec;
    if (!records_adaptive_steps(spec)) {
        return 0;
    }
    double step = fm_method_describe(spec->solver.method)->evaluations_per_step;
    uint64_t least = step < 1 ? 1 : (uint64_t)step;
    uint64_t steps = spec->solver.max_evaluations / least;
    size_t states = multiply(2, add(steps > SIZE_MAX ? SIZE_MAX : (size_t)steps, 1));
    states = states < FM_RECORDING_STATES ? FM_RECORDING_STATES : states;
    /* The state is kept, whether it is asked for or not. */
    size_t n_vectors = count_fields(spec->fields | FM_FIELD_BIT(FM_FIELD_X));
    size_t values = multiply(n_vectors, model->dimension);
    size_t n_doubles = 1 + 2 * (size_t)(count_numbers(spec->fields) > 0 || spec->log_likelihood);
    size_t state_bytes = add(multiply(values, sizeof(float)), n_doubles * sizeof(double));
    return multiply(spec->n_rows, multiply(states, state_bytes));
}
