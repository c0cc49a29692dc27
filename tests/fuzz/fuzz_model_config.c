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

static void check_rows(const fm_model_config *config, size_t rows)
{
    assert((rows > 0) == config->has_labels);
    assert(!config->has_labels || (size_t)config->label_count <= rows);
    assert(!config->has_null_label || (size_t)config->null_label < rows);
}

static void check_unet(const fm_model_config *config)
{
    const fm_unet_config *unet = &config->unet;
    assert(config->dimension == unet->channels * unet->height * unet->width);
    assert(unet->output_channels >= unet->kept_channels && unet->time_channels >= 2);
    assert(unet->kept_channels == fm_predictions_count(&config->predictions) * unet->channels);
    assert(unet->n_blocks >= 1 && unet->n_levels >= 1 && unet->n_levels <= FM_UNET_MAX_LEVELS);
    for (size_t i = 0; i < unet->n_levels; i++) {
        size_t channels = unet->levels[i].channels;
        assert(channels >= 32 && channels <= 65536 && channels % 32 == 0);
        assert((unet->height >> i) << i == unet->height && (unet->width >> i) << i == unet->width);
        if (unet->levels[i].attends || i + 1 == unet->n_levels) {
            assert(channels % (unet->head_channels > 0 ? unet->head_channels : unet->heads) == 0);
        }
    }
    check_rows(config, unet->label_rows);
}

static void check_sit(const fm_model_config *config)
{
    const fm_sit_config *sit = &config->sit;
    assert(config->dimension == sit->channels * sit->size * sit->size);
    assert(sit->size % sit->patch == 0 && sit->hidden % sit->heads == 0);
    assert(sit->depth >= 1 && sit->mlp_hidden >= 1);
    assert(sit->output_channels >= sit->kept_channels);
    assert(sit->kept_channels == fm_predictions_count(&config->predictions) * sit->channels);
    check_rows(config, sit->label_rows);
}

static void check_network(const fm_model_config *config)
{
    switch (config->architecture) {
    case FM_ARCHITECTURE_MLP:
        assert(!(config->potential && config->classifier));
        assert(!config->classifier || (config->has_labels && !config->has_null_label));
        break;
    case FM_ARCHITECTURE_GAUSSIAN_MIXTURE:
        check_mixture(&config->gaussian_mixture.mixture, config->dimension);
        break;
    case FM_ARCHITECTURE_DATASET:
        assert(strchr(config->dataset.file, '/') == NULL);
        break;
    case FM_ARCHITECTURE_TORCHCFM_UNET:
    case FM_ARCHITECTURE_META_UNET:
        check_unet(config);
        break;
    case FM_ARCHITECTURE_SIT:
        check_sit(config);
        break;
    }
}

static void check_config(const fm_model_config *config)
{
    size_t dimension = 1;
    for (size_t axis = 0; axis < config->rank; axis++) {
        dimension *= config->shape[axis];
    }
    assert(config->rank >= 1 && config->rank <= FM_MAX_RANK);
    assert(dimension == config->dimension && dimension >= 1 && dimension <= (size_t)1 << 28);
    assert(config->path.source_std > 0.0 && config->time_scale != 0.0);
    assert(config->time_range[0] <= config->sample_range[0]);
    assert(config->sample_range[0] < config->sample_range[1]);
    assert(config->sample_range[1] <= config->time_range[1]);
    assert(config->output_range[0] < config->output_range[1]);
    assert(isfinite(config->output_range[1] - config->output_range[0]));
    assert(strcmp(config->output_kind, "image") != 0 || config->rank == 3);
    assert(fm_predictions_count(&config->predictions) == 1 ||
           fm_predictions_pair(&config->predictions));
    assert(config->path.type != NULL && config->defaults_json[0] == '{');
    assert(strchr(config->weights_file, '/') == NULL);
    check_labels(config);
    check_network(config);
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
