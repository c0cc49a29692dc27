/* Models, engines and jobs of tests. */
#include "tests/support/engine_case.h"

#include "tests/support/temp_folder.h"

#include <check.h>
#include <string.h>

fm_model *engine_case_model_with(const char *folder, const fm_model_options *options)
{
    fm_error err = {0};
    fm_model *model = NULL;
    fm_status status = fm_model_open(folder, options, &model, &err);
    ck_assert_msg(status == FM_OK, "%s: %s", folder, err.text);
    return model;
}

fm_model *engine_case_model(const char *folder, size_t workers)
{
    return engine_case_model_with(folder, &(fm_model_options){.workers = workers});
}

fm_model *engine_case_model_of_text(const char *config, size_t workers)
{
    temp_folder folder = {.parent = ""};
    temp_folder_make(&folder);
    temp_folder_write_text(&folder, "config.json", config);
    fm_model *model = engine_case_model(folder.path, workers);
    temp_folder_remove(&folder);
    return model;
}

fm_engine *engine_case_engine(size_t workers)
{
    fm_error err = {0};
    fm_engine *engine = NULL;
    const fm_engine_options options = {.workers = workers};
    ck_assert_msg(fm_engine_new(&options, &engine, &err) == FM_OK, "%s", err.text);
    return engine;
}

void engine_case_open_model(engine_case *ret, fm_model *model, size_t workers)
{
    *ret = (engine_case){.model = model, .engine = engine_case_engine(workers)};
}

void engine_case_open(engine_case *ret, const char *folder, size_t workers)
{
    engine_case_open_model(ret, engine_case_model(folder, workers), workers);
}

void engine_case_close(engine_case *it)
{
    fm_engine_free(it->engine);
    fm_model_unref(it->model);
}

fm_job_spec engine_case_spec(fm_model *model, size_t n_rows, const char *method, size_t n_grid,
                             const double *grid)
{
    return (fm_job_spec){.task = FM_TASK_SAMPLE,
                         .model = model,
                         .n_rows = n_rows,
                         .seed = 1,
                         .guidance = {.scale = 1},
                         .solver = {.method = fm_method_find(method),
                                    .grid = grid,
                                    .n_grid = n_grid,
                                    .rtol = 1e-5,
                                    .atol = 1e-5,
                                    .sampling = FM_SAMPLING_DEFAULT,
                                    .max_evaluations = 100000}};
}

fm_job *engine_case_run(fm_engine *engine, const fm_job_spec *spec)
{
    fm_error err = {0};
    fm_job *job = NULL;
    ck_assert_msg(fm_engine_submit(engine, spec, &job, &err) == FM_OK, "%s", err.text);
    ck_assert_ptr_eq(fm_engine_wait(engine), job);
    return job;
}

void engine_case_refuse(fm_engine *engine, const fm_job_spec *spec, const char *words)
{
    fm_error err = {0};
    fm_job *job = NULL;
    ck_assert_msg(fm_engine_submit(engine, spec, &job, &err) == FM_EINVAL, "%s was accepted",
                  words);
    ck_assert_msg(strstr(err.text, words) != NULL, "%s, not %s", err.text, words);
}
