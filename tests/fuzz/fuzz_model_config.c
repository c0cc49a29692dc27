/* Any bytes as config.json: refused with a text, or a configuration that keeps its promises. */
#include "engine/checkpoint/model_config.h"

#include <assert.h>
#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_mixture(const fm_mixture_config *mixture, size_t dimension)
{
    double sum = 0.0;
    assert(mixture->n_components > 0);
    for (size_t k = 0; k < mixture->n_components; k++) {
        assert(mixture->weights[k] >= 0.0 && mixture->stds[k] > 0.0);
        sum += mixture->weights[k];
        for (size_t i = 0; i < dimension; i++) {
            assert(isfinite(mixture->means[k * dimension + i]));
        }
    }
    assert(fabs(sum - 1.0) < 1e-9);
}

static void check_labels(const fm_model_config *config)
{
    if (config->has_labels) {
        assert(config->label_count >= 1);
        assert(!config->has_null_label ||
               (config->null_label >= 0 && config->null_label <= config->label_count));
    } else {
        assert(!config->has_null_label && config->n_label_names == 0);
    }
    assert(config->n_label_names == 0 || config->n_label_names == (size_t)config->label_count);
}

static void check_config(const fm_model_config *config)
{
    size_t dimension = 1;
    for (size_t axis = 0; axis < config->rank; axis++) {
        dimension *= config->shape[axis];
    }
    assert(config->rank >= 1 && config->rank <= FM_MAX_RANK);
    assert(dimension == config->dimension && dimension >= 1 && dimension <= (size_t)1 << 28);
    assert(config->source_std > 0.0 && config->time_scale != 0.0);
    assert(config->time_range[0] <= config->sample_range[0]);
    assert(config->sample_range[0] < config->sample_range[1]);
    assert(config->sample_range[1] <= config->time_range[1]);
    assert(config->path.type != NULL && config->defaults_json[0] == '{');
    assert(strchr(config->weights_file, '/') == NULL);
    check_labels(config);
    if (config->architecture == FM_ARCHITECTURE_GAUSSIAN_MIXTURE) {
        check_mixture(&config->gaussian_mixture.mixture, dimension);
    }
    if (config->architecture == FM_ARCHITECTURE_DATASET) {
        assert(strchr(config->dataset.file, '/') == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fm_model_config config;
    fm_error err = {0};
    fm_status status =
        fm_model_config_parse("models/fuzzed", (const char *)data, size, &config, &err);
    if (status != FM_OK) {
        assert(status == err.status && err.text[0] != '\0');
        return 0;
    }
    check_config(&config);
    fm_model_config_done(&config);
    return 0;
}
