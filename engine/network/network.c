/* From a configuration to a network: the architecture table. */
#include "engine/network/network.h"

#include "engine/network/architecture.h"

#include <assert.h>

typedef fm_status (*constructor)(const fm_model_config *config, fm_weights *weights,
                                 const fm_path *path, fm_network **ret, fm_error *err);

typedef struct architecture {
    bool needs_weights;
    constructor make;
} architecture;

static const architecture architectures[] = {
#define FM_ARCHITECTURE(id, name, needs_weights, constructor)                                      \
    [FM_ARCHITECTURE_##id] = {needs_weights, constructor},
#include "engine/network/architecture.def"
#undef FM_ARCHITECTURE
};

static const architecture *architecture_of(fm_architecture id)
{
    assert((size_t)id < sizeof architectures / sizeof architectures[0]);
    return &architectures[id];
}

fm_status fm_network_new(const fm_model_config *config, fm_weights *weights, const fm_path *path,
                         fm_network **ret, fm_error *err)
{
    const architecture *row = architecture_of(config->architecture);
    assert(row->needs_weights == fm_architecture_has_weights(config->architecture));
    assert(!row->needs_weights || weights != NULL);
    fm_network *network = NULL;
    fm_status status = row->make(config, weights, path, &network, err);
    if (status == FM_OK && row->needs_weights) {
        status = fm_weights_finish(weights, err);
    }
    if (status != FM_OK) {
        fm_network_free(network);
        return status;
    }
    assert(network->info.dimension == config->dimension && network->info.max_rows > 0);
    *ret = network;
    return FM_OK;
}

void fm_network_free(fm_network *network)
{
    if (network != NULL) {
        network->ops->free(network);
    }
}
