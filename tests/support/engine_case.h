/* Models and engines of tests, and jobs that run to their end. Every function asserts that it succeeds. */
#ifndef TESTS_ENGINE_CASE_H
#define TESTS_ENGINE_CASE_H

#include "engine/fm.h"

/* A model of a folder, or of the text of a config.json that needs no weights; released by fm_model_unref(). */
fm_model *engine_case_model(const char *folder, size_t workers);
fm_model *engine_case_model_with(const char *folder, const fm_model_options *options);
fm_model *engine_case_model_of_text(const char *config, size_t workers);
/* Freed by fm_engine_free(). */
fm_engine *engine_case_engine(size_t workers);

/* A model with an engine of its own. */
typedef struct engine_case {
    fm_model *model;
    fm_engine *engine;
} engine_case;

void engine_case_open(engine_case *ret, const char *folder, size_t workers);
/* The reference to the model is the case's from here on; it has been opened for as many workers. */
void engine_case_open_model(engine_case *ret, fm_model *model, size_t workers);
void engine_case_close(engine_case *it);

/* So many samples along a grid: seed 1, no guidance, tolerances of 1e-5 and evaluations enough. */
fm_job_spec engine_case_spec(fm_model *model, size_t n_rows, const char *method, size_t n_grid,
                             const double *grid);
/* Submits the only job of the engine and waits for it; freed by fm_job_free(). */
fm_job *engine_case_run(fm_engine *engine, const fm_job_spec *spec);
/* The job breaks a rule, and the text that says so has these words. */
void engine_case_refuse(fm_engine *engine, const fm_job_spec *spec, const char *words);

#endif
