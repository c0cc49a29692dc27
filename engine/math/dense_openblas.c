/* The OpenBLAS provider: the second one, and the cross-check of the first.
 *
 * OpenBLAS picks its kernel, and with it the order of sums, by the number of rows; so every call has
 * the same number, whatever max_rows is. */
#include "engine/math/dense_common.h"
#include "engine/memory.h"

#include <cblas.h>
#include <pthread.h>
#include <stdio.h>

/* At 16 rows the ZEN and HASWELL kernels take twelve rows by one order of sums and four by another; at
 * eight all rows go one way, on every core type tried (NEHALEM, SANDYBRIDGE, HASWELL, ZEN, SKYLAKEX,
 * COOPERLAKE). */
#define TILE_ROWS ((size_t)8)

struct fm_product {
    size_t inputs, columns;
    float *weight; /* [inputs][columns], 0 beyond the outputs */
};

static void one_thread(void)
{
    openblas_set_num_threads(1);
}

void fm_dense_thread_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT; /* the setting is the process's */
    (void)pthread_once(&once, one_thread);
}

const char *fm_dense_provider(void)
{
    return "openblas";
}

void fm_dense_version(char *ret, size_t size_bytes)
{
    (void)snprintf(ret, size_bytes, "%s", openblas_get_config()); /* names the core type too */
}

int fm_product_prefers_own(const fm_dense_spec *spec)
{
    (void)spec;
    return 0;
}

int fm_product_prefers_own_conv(void)
{
    return 0;
}

fm_status fm_product_new(const fm_dense_spec *spec, fm_product **ret, fm_error *err)
{
    fm_dense_thread_init();
    size_t columns = fm_kernels_round(spec->outputs), count = 0;
    bool fits = fm_multiply(spec->inputs, columns, &count);
    float *weight = fits ? fm_alloc_array(count, sizeof *weight) : NULL;
    fm_product *product = fm_alloc(sizeof *product);
    if (weight == NULL || product == NULL) {
        fm_free(weight);
        fm_free(product);
        return fm_fail(err, FM_ENOMEM, "out of memory for %zu x %zu weights", spec->outputs,
                       spec->inputs);
    }
    for (size_t column = 0; column < spec->outputs; column++) {
        for (size_t k = 0; k < spec->inputs; k++) {
            weight[k * columns + column] = spec->weight[column * spec->inputs + k];
        }
    }
    *product = (fm_product){.inputs = spec->inputs, .columns = columns, .weight = weight};
    *ret = product;
    return FM_OK;
}

void fm_product_free(fm_product *product)
{
    if (product != NULL) {
        fm_free(product->weight);
        fm_free(product);
    }
}

size_t fm_product_padded_rows(size_t rows)
{
    return (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
}

size_t fm_product_scratch_bytes(const fm_product *product)
{
    (void)product;
    return 0;
}

size_t fm_product_packed_bytes(const fm_product *product)
{
    return product->inputs * product->columns * sizeof(float);
}

fm_status fm_product_run(const fm_product *product, size_t rows, const float *in, float *out,
                         void *scratch)
{
    (void)scratch;
    size_t stride = fm_kernels_round(product->inputs);
    blasint inputs = (blasint)product->inputs, columns = (blasint)product->columns;
    for (size_t row = 0; row < rows; row += TILE_ROWS) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)TILE_ROWS, columns, inputs,
                    1.0F, in + row * stride, (blasint)stride, product->weight, columns, 0.0F,
                    out + row * product->columns, columns);
    }
    return FM_OK;
}
