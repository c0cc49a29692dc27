/* config.json's "network" of the closed forms: gaussian_mixture and dataset. */
#include "engine/checkpoint/file.h"
#include "engine/checkpoint/model_config_private.h"
#include "engine/memory.h"

#include <math.h>

/* ---- gaussian_mixture ---- */

static fm_status check_positive(const fm_json_node *array, const double *values, size_t count,
                                fm_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!(values[i] > 0.0)) {
            fm_json_node item = fm_json_item(array, i);
            return fm_json_fail(&item, err, FM_EFORMAT, "must be above 0, found %g", values[i]);
        }
    }
    return FM_OK;
}

/* Checks the weights and makes their sum 1; *ret_log_total is the logarithm of what it was. */
static fm_status normalise(const fm_json_node *array, double *weights, size_t count,
                           double *ret_log_total, fm_error *err)
{
    double largest = 0.0;
    for (size_t i = 0; i < count; i++) {
        if (!(weights[i] >= 0.0)) {
            fm_json_node item = fm_json_item(array, i);
            return fm_json_fail(&item, err, FM_EFORMAT, "must be at least 0, found %g", weights[i]);
        }
        largest = fmax(largest, weights[i]);
    }
    if (!(largest > 0.0)) {
        return fm_json_fail(array, err, FM_EFORMAT, "must have a sum above 0");
    }
    double sum = weights[0] / largest; /* of ratios, for a sum of large weights could overflow */
    for (size_t i = 1; i < count; i++) {
        sum += weights[i] / largest;
    }
    *ret_log_total = log(largest) + log(sum);
    for (size_t i = 0; i < count; i++) {
        weights[i] = weights[i] / largest / sum;
    }
    return FM_OK;
}

static fm_status read_means(const fm_json_node *node, size_t dimension, fm_mixture_config *mixture,
                            fm_error *err)
{
    fm_status status = fm_json_check_array(node, mixture->n_components, mixture->n_components, err);
    for (size_t k = 0; status == FM_OK && k < mixture->n_components; k++) {
        fm_json_node item = fm_json_item(node, k);
        status = fm_json_read_numbers(&item, dimension, mixture->means + k * dimension, err);
    }
    return status;
}

/* An object with weights, means and stds, whose keys have been checked. */
static fm_status read_mixture(const fm_json_node *node, size_t dimension, fm_mixture_config *ret,
                              fm_error *err)
{
    fm_json_node members[] = {fm_json_member(node, "weights"), fm_json_member(node, "means"),
                              fm_json_member(node, "stds")};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        fm_status missing = fm_json_require(&members[i], err);
        if (missing != FM_OK) {
            return missing;
        }
    }
    fm_status status = fm_json_check_array(&members[0], 1, SIZE_MAX, err);
    if (status == FM_OK) {
        /* Before memory is taken for count * dimension: few bytes can ask for much of it. */
        size_t count = json_array_size(members[0].value);
        status = fm_json_check_array(&members[1], count, count, err);
    }
    for (size_t k = 0; status == FM_OK && k < json_array_size(members[0].value); k++) {
        fm_json_node mean = fm_json_item(&members[1], k);
        status = fm_json_check_array(&mean, dimension, dimension, err);
    }
    if (status != FM_OK) {
        return status;
    }
    size_t count = json_array_size(members[0].value);
    size_t n_values = 0;
    ret->weights = fm_alloc_array(count, sizeof *ret->weights);
    ret->stds = fm_alloc_array(count, sizeof *ret->stds);
    if (fm_multiply(count, dimension, &n_values)) {
        ret->means = fm_alloc_array(n_values, sizeof *ret->means);
    }
    if (ret->weights == NULL || ret->stds == NULL || ret->means == NULL) {
        return fm_json_fail(node, err, FM_ENOMEM, "no memory for %zu components", count);
    }
    ret->n_components = count;
    status = fm_json_read_numbers(&members[0], count, ret->weights, err);
    if (status == FM_OK) {
        status = normalise(&members[0], ret->weights, count, &ret->log_total, err);
    }
    if (status == FM_OK) {
        status = read_means(&members[1], dimension, ret, err);
    }
    if (status == FM_OK) {
        status = fm_json_read_numbers(&members[2], count, ret->stds, err);
    }
    return status == FM_OK ? check_positive(&members[2], ret->stds, count, err) : status;
}

static fm_status read_classes(const fm_json_node *node, size_t dimension,
                              fm_gaussian_mixture_config *ret, fm_error *err)
{
    static const char *const keys[] = {"weights", "means", "stds", NULL};
    fm_status status = fm_json_check_array(node, 1, INT32_MAX - 1, err);
    if (status != FM_OK || !fm_json_present(node)) {
        return status;
    }
    size_t count = json_array_size(node->value);
    ret->classes = fm_alloc_array(count, sizeof *ret->classes);
    if (ret->classes == NULL) {
        return fm_json_fail(node, err, FM_ENOMEM, "no memory for %zu classes", count);
    }
    ret->n_classes = count;
    for (size_t i = 0; status == FM_OK && i < count; i++) {
        fm_json_node item = fm_json_item(node, i);
        status = fm_json_check_object(&item, keys, err);
        if (status == FM_OK) {
            status = read_mixture(&item, dimension, &ret->classes[i], err);
        }
    }
    return status;
}

fm_status fm_model_config_read_gaussian_mixture(const fm_json_node *network,
                                                fm_model_config *config, fm_error *err)
{
    static const char *const keys[] = {"architecture", "weights", "means", "stds", "classes", NULL};
    fm_gaussian_mixture_config *ret = &config->gaussian_mixture;
    fm_status status = fm_json_check_object(network, keys, err);
    if (status == FM_OK) {
        status = read_mixture(network, config->dimension, &ret->mixture, err);
    }
    if (status == FM_OK) {
        fm_json_node classes = fm_json_member(network, "classes");
        status = read_classes(&classes, config->dimension, ret, err);
    }
    return status;
}

/* ---- dataset ---- */

fm_status fm_model_config_read_dataset(const fm_json_node *network, fm_model_config *config,
                                       fm_error *err)
{
    static const char *const keys[] = {"architecture", "file", NULL};
    fm_dataset_config *dataset = &config->dataset;
    fm_json_node node = fm_json_member(network, "file");
    fm_status status = fm_json_check_object(network, keys, err);
    if (status == FM_OK) {
        status = fm_json_require(&node, err);
    }
    if (status == FM_OK) {
        status = fm_json_read_string(&node, &dataset->file, err);
    }
    if (status != FM_OK) {
        return status;
    }
    const char *file = dataset->file;
    if (!fm_file_name_is_local(file)) {
        return fm_json_fail(&node, err, FM_EFORMAT,
                            "must be a file of the same folder, found \"%s\"", file);
    }
    if (!fm_file_name_ends(file, ".npy") && !fm_file_name_ends(file, ".csv") &&
        !fm_file_name_ends(file, ".safetensors")) {
        return fm_json_fail(&node, err, FM_EFORMAT,
                            "must end with one of .npy, .csv, .safetensors, found \"%s\"", file);
    }
    return FM_OK;
}
