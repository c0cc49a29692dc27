/* sit: SiT and DiT, whose shapes tell nearly everything. */
#include "engine/checkpoint/guess_private.h"

/* The published sizes: 64 numbers a head up to width 1024, 72 at 1152 (XL). */
static size_t heads_of(size_t hidden)
{
    size_t head = hidden == 1152 ? 72 : 64;
    return hidden % head == 0 ? hidden / head : 1;
}

/* The integer root of a square; 0 for other numbers. */
static size_t root_of(size_t square)
{
    size_t root = 0;
    while (root * root < square && root < 65536) {
        root++;
    }
    return root * root == square ? root : 0;
}

typedef struct sizes {
    size_t hidden, channels, patch, grid, outputs, depth, feed_forward;
} sizes;

static fm_status read_sizes(const fm_guesser *guesser, sizes *ret, fm_error *err)
{
    const fm_tensor *patches = NULL, *last = NULL, *positions = NULL, *feed = NULL;
    fm_status status = fm_guess_need(guesser, "x_embedder.proj.weight", 4, &patches, err);
    if (status == FM_OK) {
        status = fm_guess_need(guesser, "final_layer.linear.weight", 2, &last, err);
    }
    if (status == FM_OK) {
        status = fm_guess_need(guesser, "pos_embed", 3, &positions, err);
    }
    if (status == FM_OK) {
        status = fm_guess_need(guesser, "blocks.0.mlp.fc1.weight", 2, &feed, err);
    }
    if (status != FM_OK) {
        return status;
    }
    size_t patch = patches->shape[2];
    *ret = (sizes){.hidden = patches->shape[0],
                   .channels = patches->shape[1],
                   .patch = patch,
                   .grid = root_of(positions->shape[1]),
                   .outputs = last->shape[0] / (patch * patch),
                   .depth = fm_guess_count(guesser, "blocks"),
                   .feed_forward = feed->shape[0]};
    if (ret->grid == 0) {
        return fm_fail(err, FM_EFORMAT,
                       "tensor \"pos_embed\": expected a square number of patches, "
                       "found %zu",
                       positions->shape[1]);
    }
    return FM_OK;
}

static void put_classes(fm_guesser *guesser)
{
    const fm_tensor *table = fm_guess_find(guesser, "y_embedder.embedding_table.weight");
    if (table != NULL && table->rank == 2 && table->shape[0] > 1) {
        size_t classes = table->shape[0] - 1;
        fm_guess_put_size(guesser, guesser->network, "num_classes", classes);
        fm_guess_put_labels(guesser, classes, true);
        fm_guess_assume(guesser,
                        "conditioning.labels.null %zu: the last row of %zu is that of the "
                        "dropped class",
                        classes, table->shape[0]);
    }
}

fm_status fm_guess_sit(fm_guesser *guesser, fm_error *err)
{
    sizes found = {0};
    fm_status status = read_sizes(guesser, &found, err);
    if (status != FM_OK) {
        return status;
    }
    json_t *network = guesser->network;
    size_t input = found.grid * found.patch;
    fm_guess_put_size(guesser, network, "input_size", input);
    fm_guess_put_size(guesser, network, "patch_size", found.patch);
    fm_guess_put_size(guesser, network, "in_channels", found.channels);
    fm_guess_put_size(guesser, network, "hidden_size", found.hidden);
    fm_guess_put_size(guesser, network, "depth", found.depth);
    fm_guess_put_size(guesser, network, "num_heads", heads_of(found.hidden));
    fm_guess_put(guesser, network, "mlp_ratio",
                 json_real((double)found.feed_forward / (double)found.hidden));
    put_classes(guesser);
    fm_guess_put(guesser, network, "learn_sigma",
                 json_boolean(found.outputs == 2 * found.channels));
    fm_guess_assume(guesser, "network.num_heads %zu: as in the published sizes",
                    heads_of(found.hidden));
    const size_t shape[] = {found.channels, input, input};
    fm_guess_put_shape(guesser, 3, shape);
    bool latents = found.channels == 4;
    fm_guess_put(guesser, guesser->output, "kind", json_string(latents ? "points" : "image"));
    fm_guess_assume(guesser, "output.kind %s: %zu channels", latents ? "points (latents)" : "image",
                    found.channels);
    return FM_OK;
}
