/* Reading reference flows. */
#include "tests/support/flow_case.h"

#include "engine/memory.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

double *flow_case_values(const flow_case *flow, const char *name, size_t *ret_count)
{
    const fm_tensor *tensor = fm_tensors_find(flow->tensors, name);
    if (tensor == NULL) {
        return NULL;
    }
    fm_error err;
    double *values = fm_alloc_array(tensor->count, sizeof *values);
    ck_assert_ptr_nonnull(values);
    if (tensor->dtype == FM_DTYPE_I64) {
        for (size_t i = 0; i < tensor->count; i++) {
            int64_t value = 0;
            memcpy(&value, (const char *)tensor->data + 8 * i, sizeof value);
            values[i] = (double)value;
        }
    } else {
        ck_assert_msg(fm_tensor_to_float64(tensor, values, &err) == FM_OK, "%s", err.text);
    }
    *ret_count = tensor->count;
    return values;
}

static double number_or(const json_t *object, const char *key, double otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

static size_t plan_grid(flow_case *flow, const json_t *solver)
{
    const json_t *given = json_object_get(solver, "time_grid");
    const json_t *reference = json_object_get(flow->request, "reference");
    double first = number_or(reference, "t_first", 0), last = number_or(reference, "t_last", 1);
    double step = number_or(solver, "step_size", 0);
    size_t steps = (size_t)number_or(solver, "steps", 1);
    if (given != NULL) {
        for (size_t i = 0; i < json_array_size(given); i++) {
            flow->grid[i] = json_number_value(json_array_get(given, i));
        }
        return json_array_size(given);
    }
    if (step > 0) {
        fm_grid_step_size(first, last, step, flow->grid);
        return fm_grid_steps(first, last, step) + 1;
    }
    fm_grid_uniform(first, last, steps, flow->grid);
    return steps + 1;
}

static void plan_labels(flow_case *flow)
{
    size_t count = 0;
    double *labels = flow_case_values(flow, "label", &count);
    if (labels == NULL) {
        return;
    }
    flow->labels = fm_alloc_array(count, sizeof *flow->labels);
    for (size_t i = 0; i < count; i++) {
        flow->labels[i] = (int32_t)labels[i];
    }
    fm_free(labels);
    flow->spec.labels = flow->labels;
}

void flow_case_open(flow_case *flow, const char *folder, const char *name, fm_model *model)
{
    char path[512];
    json_error_t json_error;
    fm_error err;
    memset(flow, 0, sizeof *flow);
    (void)snprintf(path, sizeof path, "%s/flows/%s.json", folder, name);
    flow->request = json_load_file(path, 0, &json_error);
    ck_assert_msg(flow->request != NULL, "%s: %s", path, json_error.text);
    (void)snprintf(path, sizeof path, "%s/flows/%s.safetensors", folder, name);
    ck_assert_msg(fm_tensors_open(path, &flow->tensors, &err) == FM_OK, "%s", err.text);
    const json_t *solver = json_object_get(flow->request, "solver");
    const json_t *guidance = json_object_get(flow->request, "guidance");
    const json_t *times = json_object_get(json_object_get(flow->request, "trajectory"), "times");
    size_t count = 0;
    flow->x0 = flow_case_values(flow, "x0", &count);
    const char *method = json_string_value(json_object_get(solver, "method"));
    flow->spec = (fm_job_spec){.task = FM_TASK_SAMPLE,
                               .model = model,
                               .n_rows = count / fm_model_describe(model)->dimension,
                               .x = flow->x0,
                               .guidance = {.scale = number_or(guidance, "scale", 1),
                                            .channels = (size_t)number_or(guidance, "channels", 0)},
                               .output_times = flow->times,
                               .n_output_times = json_array_size(times)};
    flow->spec.solver = (fm_solver){.method = fm_method_find(method),
                                    .grid = flow->grid,
                                    .n_grid = plan_grid(flow, solver),
                                    .rtol = number_or(solver, "rtol", 1e-5),
                                    .atol = number_or(solver, "atol", 1e-5),
                                    .max_evaluations = 100000};
    const char *step = json_string_value(json_object_get(solver, "step"));
    flow->spec.solver.step = step != NULL ? fm_step_form_find(step) : FM_STEP_EXPONENTIAL;
    for (size_t i = 0; i < json_array_size(times); i++) {
        flow->times[i] = json_number_value(json_array_get(times, i));
    }
    plan_labels(flow);
}

void flow_case_close(flow_case *flow)
{
    json_decref(flow->request);
    fm_tensors_close(flow->tensors);
    fm_free(flow->x0);
    fm_free(flow->labels);
}
