/* From a configuration to a network: the architecture table. */
#include "engine/network/network.h"

#include "engine/math/rng.h"
#include "engine/network/architecture.h"
#include "engine/network/classifier.h"
#include "engine/network/gradient_network.h"

#include <assert.h>
#include <math.h>

typedef fm_status (*constructor)(const fm_model_config *config, fm_weights *weights,
                                 const fm_path *path, fm_network **ret, fm_error *err);

static const constructor constructors[] = {
#define FM_ARCHITECTURE(id, name, has_weights, constructor) constructor,
#include "engine/network/architecture.def"
#undef FM_ARCHITECTURE
};

static fm_status check_compute(const fm_model_config *config, fm_error *err)
{
    fm_status status = fm_compute_check(config->compute, err);
    return status == FM_OK ? FM_OK : fm_fail_prefix(err, status, "/weights/compute");
}

fm_status fm_network_new(const fm_model_config *config, fm_weights *weights, const fm_path *path,
                         fm_network **ret, fm_error *err)
{
    bool has_weights = fm_architecture_has_weights(config->architecture);
    assert(!has_weights || weights != NULL);
    fm_network *network = NULL;
    fm_status status = check_compute(config, err);
    if (status == FM_OK) {
        status = constructors[config->architecture](config, weights, path, &network, err);
    }
    if (status == FM_OK && has_weights) {
        status = fm_weights_finish(weights, err);
    }
    if (status == FM_OK && (config->potential || config->classifier)) {
        fm_network *inner = network;
        network = NULL;
        status = fm_gradient_network_new(inner, config->classifier ? fm_classifier_slopes : NULL,
                                         &network, err);
    }
    if (status != FM_OK) {
        fm_network_free(network);
        return status;
    }
    assert(network->info.dimension == config->space.inputs && network->info.max_rows > 0);
    *ret = network;
    return FM_OK;
}

fm_status fm_network_check(const fm_model_config *config, fm_weights *weights, fm_error *err)
{
    assert(fm_architecture_has_weights(config->architecture));
    fm_status status = check_compute(config, err);
    if (status == FM_OK) {
        status = constructors[config->architecture](config, weights, &config->path, NULL, err);
    }
    return status == FM_OK ? fm_weights_finish(weights, err) : status;
}

void fm_network_probe(const fm_network *network, uint64_t sample, size_t n, double *x)
{
    size_t count = n * network->info.dimension;
    if (network->info.vocabulary == 0) {
        fm_rng_normal(0, sample, FM_RNG_PROBE, 0, count, x);
        return;
    }
    fm_rng_uniform(0, sample, FM_RNG_PROBE, 0, count, x);
    for (size_t i = 0; i < count; i++) {
        x[i] = floor(x[i] * (double)network->info.vocabulary);
    }
}

void fm_network_free(fm_network *network)
{
    if (network != NULL) {
        network->ops->free(network);
    }
}
