/* config.json's "flow", the half that says where states live: space, factors, shape, source. */
#include "engine/checkpoint/model_config_private.h"
#include "engine/memory.h"

#include <string.h>

#define MAX_DIMENSION  ((size_t)1 << 28)
#define MAX_VOCABULARY ((size_t)1 << 24) /* a token goes out as a float32 on some ways */
#define PRODUCT        FM_N_SPACES       /* behind the kinds of points */

/* A part as the file has it: the flow itself, or a factor. */
typedef struct part_shape {
    size_t rank, axes[FM_MAX_RANK], count;
} part_shape;

static fm_status read_space(const fm_json_node *owner, bool may_be_product, int *ret, fm_error *err)
{
    static const fm_json_choice spaces[] = {
#define FM_SPACE(ID, name, axes, unit) {name, FM_SPACE_##ID},
#include "engine/space/space.def"
#undef FM_SPACE
        {"product", PRODUCT},
        {0},
    };
    fm_json_node node = fm_json_member(owner, "space");
    *ret = FM_SPACE_EUCLIDEAN;
    fm_status status = fm_json_read_choice(&node, spaces, ret, err);
    if (status == FM_OK && *ret == PRODUCT && !may_be_product) {
        status = fm_json_fail(&node, err, FM_EFORMAT, "must not be a product of its own");
    }
    return status;
}

static fm_status read_shape(const fm_json_node *owner, part_shape *ret, fm_error *err)
{
    fm_json_node node = fm_json_member(owner, "shape");
    fm_status status = fm_json_require(&node, err);
    if (status == FM_OK) {
        status = fm_json_check_array(&node, 1, FM_MAX_RANK, err);
    }
    if (status != FM_OK) {
        return status;
    }
    *ret = (part_shape){.rank = json_array_size(node.value), .count = 1};
    for (size_t axis = 0; axis < ret->rank; axis++) {
        fm_json_node item = fm_json_item(&node, axis);
        status = fm_json_read_size(&item, 1, MAX_DIMENSION, &ret->axes[axis], err);
        if (status != FM_OK) {
            return status;
        }
        if (ret->axes[axis] > MAX_DIMENSION / ret->count) {
            return fm_json_fail(&node, err, FM_EFORMAT, "must have a product of at most %zu",
                                MAX_DIMENSION);
        }
        ret->count *= ret->axes[axis];
    }
    return FM_OK;
}

/* The last axes are a point's, the others count points. */
static fm_status divide_shape(const fm_json_node *owner, const part_shape *shape,
                              fm_space_part *part, fm_error *err)
{
    size_t axes = fm_space_axes(part->id);
    fm_json_node node = fm_json_member(owner, "shape");
    if (shape->rank < axes) {
        return fm_json_fail(&node, err, FM_EFORMAT,
                            "must have at least %zu items for %s, found %zu", axes,
                            fm_space_name(part->id), shape->rank);
    }
    part->n = axes > 0 ? shape->axes[shape->rank - 1] : 1;
    if (axes == 2 && shape->axes[shape->rank - 2] != part->n) {
        return fm_json_fail(&node, err, FM_EFORMAT,
                            "must end with a square for %s, found [%zu, %zu]",
                            fm_space_name(part->id), shape->axes[shape->rank - 2], part->n);
    }
    part->copies = shape->count / part->n / (axes == 2 ? part->n : 1);
    return FM_OK;
}

/* ---- source ---- */

static fm_source_id usual_source(fm_space_id space)
{
    static const fm_source_id preferred[] = {FM_SOURCE_NORMAL, FM_SOURCE_UNIFORM,
                                             FM_SOURCE_WRAPPED_NORMAL, FM_SOURCE_MASK};
    size_t i = 0;
    while (!fm_source_is_of(preferred[i], space)) {
        i++;
    }
    return preferred[i];
}

static fm_status read_source_type(const fm_json_node *source, fm_space_part *part, fm_error *err)
{
    static const fm_json_choice types[] = {
#define FM_SOURCE(ID, name) {name, FM_SOURCE_##ID},
#include "engine/space/source.def"
#undef FM_SOURCE
        {"dataset", FM_JSON_UNSUPPORTED},
        {0},
    };
    int type = (int)usual_source(part->id);
    fm_json_node node = fm_json_member(source, "type");
    fm_status status = fm_json_read_choice(&node, types, &type, err);
    part->source.id = (fm_source_id)type;
    if (status == FM_OK && !fm_source_is_of(part->source.id, part->id)) {
        status = fm_json_fail(&node, err, FM_EFORMAT, "must be a distribution on %s, found \"%s\"",
                              fm_space_name(part->id), fm_source_name(part->source.id));
    }
    return status;
}

static fm_status read_source(const fm_json_node *owner, fm_space_part *part, fm_error *err)
{
    const char *keys[] = {"type", NULL, NULL, NULL};
    fm_json_node node = fm_json_member(owner, "source");
    fm_json_node std = fm_json_member(&node, "std");
    fm_json_node centered = fm_json_member(&node, "centered");
    part->source.std = 1.0;
    /* The type first: it says more than a key that only another type has. */
    fm_status status = read_source_type(&node, part, err);
    size_t n_keys = 1;
    if (part->source.id == FM_SOURCE_NORMAL || part->source.id == FM_SOURCE_WRAPPED_NORMAL) {
        keys[n_keys++] = "std";
    }
    if (part->id == FM_SPACE_SE3) {
        keys[n_keys++] = "centered";
    }
    if (status == FM_OK) {
        status = fm_json_check_object(&node, keys, err);
    }
    if (status == FM_OK) {
        status = fm_json_read_number(&std, &part->source.std, err);
    }
    if (status == FM_OK && !(part->source.std > 0.0)) {
        status = fm_json_fail(&std, err, FM_EFORMAT, "must be above 0, found %g", part->source.std);
    }
    return status == FM_OK ? fm_json_read_bool(&centered, &part->source.centered, err) : status;
}

/* ---- what only some kinds have ---- */

static fm_status read_representation(const fm_json_node *owner, fm_space_part *part, fm_error *err)
{
    static const fm_json_choice of_rotations[] = {
        {"quaternion", FM_REPRESENTATION_QUATERNION}, {"matrix", FM_REPRESENTATION_MATRIX}, {0}};
    static const fm_json_choice of_tokens[] = {
        {"index", FM_REPRESENTATION_INDEX}, {"one_hot", FM_REPRESENTATION_ONE_HOT}, {0}};
    bool rotates = part->id == FM_SPACE_SO3 || part->id == FM_SPACE_SE3;
    bool is_token = part->id == FM_SPACE_TOKENS;
    fm_json_node node = fm_json_member(owner, "representation");
    if (!rotates && !is_token) {
        return fm_json_present(&node)
                   ? fm_json_fail(&node, err, FM_EFORMAT,
                                  "must be left out: it is for rotations and tokens")
                   : FM_OK;
    }
    int chosen = is_token ? (int)FM_REPRESENTATION_INDEX : (int)FM_REPRESENTATION_QUATERNION;
    fm_status status =
        fm_json_read_choice(&node, is_token ? of_tokens : of_rotations, &chosen, err);
    part->representation = (fm_representation)chosen;
    return status;
}

static fm_status read_vocabulary(const fm_json_node *owner, fm_space_part *part, fm_error *err)
{
    fm_json_node node = fm_json_member(owner, "vocabulary_size");
    if (fm_json_present(&node) && part->id != FM_SPACE_TOKENS) {
        return fm_json_fail(&node, err, FM_EFORMAT, "must be left out: it is for tokens");
    }
    return fm_json_read_size(&node, 2, MAX_VOCABULARY, &part->vocabulary, err);
}

static fm_status read_part(const fm_json_node *owner, int space, const part_shape *shape,
                           fm_space_part *part, fm_error *err)
{
    *part = (fm_space_part){.id = (fm_space_id)space};
    fm_status status = divide_shape(owner, shape, part, err);
    if (status == FM_OK) {
        status = read_source(owner, part, err);
    }
    if (status == FM_OK) {
        status = read_representation(owner, part, err);
    }
    return status == FM_OK ? read_vocabulary(owner, part, err) : status;
}

/* ---- products ---- */

static fm_status read_factor(const fm_json_node *factor, fm_space_part *part, size_t *ret_count,
                             fm_error *err)
{
    static const char *const keys[] = {"space",          "shape",           "source",
                                       "representation", "vocabulary_size", NULL};
    int space = 0;
    part_shape shape;
    fm_status status = fm_json_check_object(factor, keys, err);
    if (status == FM_OK) {
        status = read_space(factor, false, &space, err);
    }
    if (status == FM_OK) {
        status = read_shape(factor, &shape, err);
    }
    if (status == FM_OK) {
        *ret_count = shape.count;
        status = read_part(factor, space, &shape, part, err);
    }
    return status;
}

static fm_status read_factors(const fm_json_node *flow, const part_shape *whole, fm_space *space,
                              fm_error *err)
{
    static const char *const of_factors[] = {"source", "representation", "vocabulary_size"};
    for (size_t i = 0; i < sizeof of_factors / sizeof *of_factors; i++) {
        fm_json_node node = fm_json_member(flow, of_factors[i]);
        if (fm_json_present(&node)) {
            return fm_json_fail(&node, err, FM_EFORMAT,
                                "must be left out: each factor has its own");
        }
    }
    fm_json_node factors = fm_json_member(flow, "factors");
    fm_status status = fm_json_require(&factors, err);
    if (status == FM_OK) {
        status = fm_json_check_array(&factors, 1, FM_SPACE_MAX_PARTS, err);
    }
    size_t total = 0, n = status == FM_OK ? json_array_size(factors.value) : 0;
    for (size_t i = 0; i < n && status == FM_OK; i++) {
        fm_json_node factor = fm_json_item(&factors, i);
        size_t count = 0;
        status = read_factor(&factor, &space->parts[i], &count, err);
        total += count;
    }
    if (status == FM_OK && (whole->rank != 1 || whole->count != total)) {
        fm_json_node node = fm_json_member(flow, "shape");
        status = fm_json_fail(&node, err, FM_EFORMAT,
                              "must be [%zu], the factors' numbers together", total);
    }
    space->n_parts = n;
    space->is_product = true;
    return status;
}

/* ---- the whole ---- */

fm_status fm_model_config_read_space(const fm_json_node *flow, fm_model_config *config,
                                     fm_error *err)
{
    int space = 0;
    part_shape shape;
    fm_json_node factors = fm_json_member(flow, "factors");
    fm_status status = read_space(flow, true, &space, err);
    if (status == FM_OK && space != PRODUCT && fm_json_present(&factors)) {
        status = fm_json_fail(&factors, err, FM_EFORMAT, "must be left out: it is for products");
    }
    if (status == FM_OK) {
        status = read_shape(flow, &shape, err);
    }
    if (status != FM_OK) {
        return status;
    }
    config->rank = shape.rank;
    memcpy(config->shape, shape.axes, sizeof config->shape);
    config->dimension = shape.count;
    config->path.source_std = 1.0;
    if (space == PRODUCT) {
        return read_factors(flow, &shape, &config->space, err);
    }
    config->space.n_parts = 1;
    status = read_part(flow, space, &shape, &config->space.parts[0], err);
    if (status == FM_OK && space == FM_SPACE_EUCLIDEAN) { /* whose noise the path scales */
        config->path.source_std = config->space.parts[0].source.std;
    }
    return status;
}

/* The network may say how many tokens there are. */
static fm_status find_vocabulary(const fm_json_node *flow, fm_model_config *config, fm_error *err)
{
    for (size_t i = 0; i < config->space.n_parts; i++) {
        fm_space_part *part = &config->space.parts[i];
        bool from_network = config->vocabulary_size > 0 && !config->space.is_product;
        if (part->id == FM_SPACE_TOKENS && from_network) {
            if (part->vocabulary > 0 && part->vocabulary != config->vocabulary_size) {
                fm_json_node node = fm_json_member(flow, "vocabulary_size");
                return fm_json_fail(&node, err, FM_EFORMAT,
                                    "must be %zu, from the network's keys, found %zu",
                                    config->vocabulary_size, part->vocabulary);
            }
            part->vocabulary = config->vocabulary_size;
        }
        if (part->id == FM_SPACE_TOKENS && part->vocabulary == 0) {
            fm_json_node node = fm_json_member(flow, "vocabulary_size");
            return fm_json_fail(&node, err, FM_EFORMAT, "is required for tokens");
        }
        if (part->id == FM_SPACE_TOKENS && !config->space.is_product) {
            config->vocabulary_size = part->vocabulary;
            config->masked |= part->source.id == FM_SOURCE_MASK;
        }
    }
    return FM_OK;
}

fm_status fm_model_config_finish_space(const fm_json_node *root, fm_model_config *config,
                                       fm_error *err)
{
    fm_json_node flow = fm_json_member(root, "flow");
    fm_status status = find_vocabulary(&flow, config, err);
    if (status != FM_OK) {
        return status;
    }
    fm_error why;
    if (fm_space_init(&config->space, &why) != FM_OK) {
        fm_json_node node = fm_json_member(&flow, config->space.is_product ? "factors" : "shape");
        return fm_json_fail(&node, err, FM_EFORMAT, "%s", why.text);
    }
    return FM_OK;
}
