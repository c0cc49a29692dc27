/* Dense layers: the choice of a route, and the bias and activation that follow every product. */
#include "engine/math/dense_common.h"

#include "engine/memory.h"

#include <assert.h>
#include <string.h>

struct fm_dense {
    size_t inputs, outputs, max_rows;
    fm_activation activation;
    const fm_kernels *kernels;
    float *bias;         /* [output stride], 0 beyond the outputs */
    float *zeros;        /* [output stride]: the bias of the linear part */
    float *packed;       /* own route, else NULL */
    fm_pool *pool;       /* of packed; NULL: the layer's own */
    fm_product *product; /* provider route, else NULL */
};

const char *fm_dense_kernels(void)
{
    return fm_kernels_best()->name;
}

static fm_status bias_copy(const fm_dense_spec *spec, fm_dense *dense, fm_error *err)
{
    dense->bias = fm_alloc_array(fm_kernels_round(spec->outputs), sizeof *dense->bias);
    dense->zeros = fm_alloc_array(fm_kernels_round(spec->outputs), sizeof *dense->zeros);
    if (dense->bias == NULL || dense->zeros == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory for the bias of %zu outputs", spec->outputs);
    }
    if (spec->bias != NULL) {
        memcpy(dense->bias, spec->bias, spec->outputs * sizeof *spec->bias);
    }
    return FM_OK;
}

static fm_status own_new(const fm_dense_spec *spec, fm_dense *dense, fm_error *err)
{
    size_t row_bytes, total;
    if (fm_multiply(fm_kernels_round(spec->outputs), sizeof *dense->packed, &row_bytes) &&
        fm_multiply(spec->inputs, row_bytes, &total)) {
        dense->packed = fm_pool_take_or_alloc(dense->pool, total);
    }
    if (dense->packed == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory for %zu x %zu packed weights", spec->outputs,
                       spec->inputs);
    }
    dense->kernels->pack(spec->weight, spec->inputs, 1, spec->inputs, spec->outputs, dense->packed);
    return FM_OK;
}

static fm_status route_new(const fm_dense_spec *spec, fm_dense_route route, fm_dense *dense,
                           fm_error *err)
{
    if (route == FM_DENSE_OWN || (route == FM_DENSE_AUTO && fm_product_prefers_own(spec))) {
        return own_new(spec, dense, err);
    }
    fm_status status = fm_product_new(spec, &dense->product, err);
    if (status != FM_OK || dense->product != NULL) {
        return status;
    }
    if (route == FM_DENSE_PROVIDER) {
        return fm_fail(err, FM_EUNSUPPORTED, "%s does not take a layer of %zu x %zu",
                       fm_dense_provider(), spec->outputs, spec->inputs);
    }
    return own_new(spec, dense, err);
}

fm_status fm_dense_new_with(const fm_dense_spec *spec, const fm_kernels *kernels,
                            fm_dense_route route, fm_dense **ret, fm_error *err)
{
    assert(spec->inputs > 0 && spec->outputs > 0 && spec->max_rows > 0 && spec->weight != NULL);
    fm_dense *dense = fm_alloc(sizeof *dense);
    if (dense == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory for a layer");
    }
    dense->inputs = spec->inputs;
    dense->outputs = spec->outputs;
    dense->max_rows = spec->max_rows;
    dense->activation = spec->activation;
    dense->kernels = kernels;
    dense->pool = spec->pool;
    fm_status status = bias_copy(spec, dense, err);
    if (status == FM_OK) {
        status = route_new(spec, route, dense, err);
    }
    if (status != FM_OK) {
        fm_dense_free(dense);
        return status;
    }
    *ret = dense;
    return FM_OK;
}

fm_status fm_dense_new(const fm_dense_spec *spec, fm_dense **ret, fm_error *err)
{
    return fm_dense_new_with(spec, fm_kernels_best(), FM_DENSE_AUTO, ret, err);
}

void fm_dense_free(fm_dense *dense)
{
    if (dense != NULL) {
        fm_product_free(dense->product);
        if (dense->pool == NULL) {
            fm_free(dense->packed);
        }
        fm_free(dense->zeros);
        fm_free(dense->bias);
        fm_free(dense);
    }
}

fm_dense_route fm_dense_route_of(const fm_dense *dense)
{
    return dense->product != NULL ? FM_DENSE_PROVIDER : FM_DENSE_OWN;
}

size_t fm_dense_input_stride(const fm_dense *dense)
{
    return fm_kernels_round(dense->inputs);
}

size_t fm_dense_output_stride(const fm_dense *dense)
{
    return fm_kernels_round(dense->outputs);
}

size_t fm_dense_padded_rows(const fm_dense *dense, size_t rows)
{
    return dense->product != NULL ? fm_product_padded_rows(rows) : rows;
}

size_t fm_dense_scratch_bytes(const fm_dense *dense)
{
    return dense->product != NULL ? fm_product_scratch_bytes(dense->product) : 0;
}

size_t fm_dense_packed_bytes(const fm_dense *dense)
{
    size_t columns = fm_kernels_round(dense->outputs);
    size_t weights = dense->product != NULL ? fm_product_packed_bytes(dense->product)
                                            : dense->inputs * columns * sizeof(float);
    return weights + 2 * columns * sizeof(float);
}

fm_status fm_dense_run_part(const fm_dense *dense, fm_layer_part part, size_t rows, const float *in,
                            float *out, void *scratch)
{
    assert(rows >= 1 && rows <= dense->max_rows);
    size_t columns = fm_kernels_round(dense->outputs);
    const float *bias = part == FM_LAYER_LINEAR ? dense->zeros : dense->bias;
    fm_activation activation = part == FM_LAYER_WHOLE ? dense->activation : FM_ACTIVATION_NONE;
    if (dense->product != NULL) {
        fm_status status = fm_product_run(dense->product, rows, in, out, scratch);
        dense->kernels->activate(activation, bias, rows, columns, columns, out);
        return status;
    }
    const fm_matmul job = {
        .inputs = dense->inputs,
        .columns = columns,
        .packed = dense->packed,
        .bias = bias,
        .activation = activation,
        .rows = rows,
        .in = in,
        .out = out,
        .in_stride = fm_kernels_round(dense->inputs),
        .out_stride = columns,
    };
    dense->kernels->matmul(&job);
    return FM_OK;
}
