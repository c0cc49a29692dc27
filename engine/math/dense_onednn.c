/* The oneDNN provider: packed matmul primitives, one per row class.
 *
 * oneDNN promises nothing about bits at different row counts. Its brgemm kernels were seen to keep one
 * order of sums at all of them; its gemm fallback (seen wherever a size is no multiple of 16) is not
 * relied on. So a shape is taken only when every class runs on brgemm and all classes give one row the
 * same bytes: a function of the shape, the library and the CPU type. */
#include "engine/math/dense_common.h"
#include "engine/math/openmp.h"
#include "engine/memory.h"

#include <assert.h>
#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <string.h>

#define OWN_LIMIT ((size_t)1024) /* inputs and outputs up to which our kernels measure faster */

static const size_t row_classes[] = {1, 8, 16, 32, 64};
#define N_CLASSES      (sizeof row_classes / sizeof row_classes[0])
#define CLASS_ROWS_MAX ((size_t)64)

struct fm_product {
    size_t inputs, outputs, in_stride, out_stride;
    dnnl_engine_t engine;
    dnnl_primitive_t primitives[N_CLASSES];
    dnnl_primitive_desc_t descriptions[N_CLASSES];
    dnnl_memory_desc_t weight_desc; /* of all classes, as the largest likes it */
    void *weight;
    size_t weight_bytes, scratch_bytes;
};

void fm_dense_thread_init(void)
{
    omp_set_num_threads(1);
}

const char *fm_dense_provider(void)
{
    return "onednn";
}

void fm_dense_version(char *ret, size_t size_bytes)
{
    const dnnl_version_t *version = dnnl_version();
    (void)snprintf(ret, size_bytes, "%d.%d.%d", version->major, version->minor, version->patch);
}

int fm_product_prefers_own(const fm_dense_spec *spec)
{
    return spec->inputs <= OWN_LIMIT && spec->outputs <= OWN_LIMIT;
}

int fm_product_prefers_own_conv(void)
{
    return 1;
}

static fm_status refused(dnnl_status_t status, const char *what, fm_error *err)
{
    if (status == dnnl_out_of_memory) {
        return fm_fail(err, FM_ENOMEM, "oneDNN ran out of memory: %s", what);
    }
    return fm_fail(err, FM_EINTERNAL,
                   "oneDNN refused to %s: status %d (its kernels are compiled at run time; is "
                   "executable memory forbidden, as by MemoryDenyWriteExecute?)",
                   what, (int)status);
}

static bool is_brgemm(const_dnnl_primitive_desc_t description)
{
    const char *name = NULL;
    dnnl_status_t status =
        dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, (void *)&name);
    return status == dnnl_success && name != NULL && strncmp(name, "brg", 3) == 0;
}

/* weight_desc says how the weights lie, or with format_tag_any that oneDNN may choose. */
static dnnl_status_t describe(const fm_product *p, size_t rows,
                              const dnnl_memory_desc_t *weight_desc, dnnl_primitive_desc_t *ret)
{
    const dnnl_dims_t in_dims = {(dnnl_dim_t)rows, (dnnl_dim_t)p->inputs};
    const dnnl_dims_t out_dims = {(dnnl_dim_t)rows, (dnnl_dim_t)p->outputs};
    const dnnl_dims_t in_strides = {(dnnl_dim_t)p->in_stride, 1};
    const dnnl_dims_t out_strides = {(dnnl_dim_t)p->out_stride, 1};
    dnnl_memory_desc_t in, out;
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_attr_t attributes;
    dnnl_status_t status = dnnl_memory_desc_init_by_strides(&in, 2, in_dims, dnnl_f32, in_strides);
    if (status == dnnl_success) {
        status = dnnl_memory_desc_init_by_strides(&out, 2, out_dims, dnnl_f32, out_strides);
    }
    if (status == dnnl_success) {
        status = dnnl_matmul_desc_init(&matmul, &in, weight_desc, NULL, &out);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_attr_create(&attributes);
    }
    if (status != dnnl_success) {
        return status;
    }
    status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success) {
        status = dnnl_primitive_desc_create(ret, &matmul, attributes, p->engine, NULL);
    }
    (void)dnnl_primitive_attr_destroy(attributes);
    return status;
}

/* Descriptions of every class, the largest first; *ret_taken is false where one is not brgemm. */
static fm_status describe_all(fm_product *p, bool *ret_taken, fm_error *err)
{
    const dnnl_dims_t dims = {(dnnl_dim_t)p->inputs, (dnnl_dim_t)p->outputs};
    dnnl_status_t status =
        dnnl_memory_desc_init_by_tag(&p->weight_desc, 2, dims, dnnl_f32, dnnl_format_tag_any);
    *ret_taken = false;
    for (size_t i = N_CLASSES; i-- > 0 && status == dnnl_success;) {
        status = describe(p, row_classes[i], &p->weight_desc, &p->descriptions[i]);
        if (status == dnnl_unimplemented ||
            (status == dnnl_success && !is_brgemm(p->descriptions[i]))) {
            return FM_OK;
        }
        if (status != dnnl_success) {
            break;
        }
        p->weight_desc =
            *dnnl_primitive_desc_query_md(p->descriptions[i], dnnl_query_weights_md, 0);
        size_t bytes = dnnl_memory_desc_get_size(
            dnnl_primitive_desc_query_md(p->descriptions[i], dnnl_query_scratchpad_md, 0));
        p->scratch_bytes = bytes > p->scratch_bytes ? bytes : p->scratch_bytes;
    }
    if (status != dnnl_success) {
        return refused(status, "describe a matrix product", err);
    }
    *ret_taken = true;
    return FM_OK;
}

static fm_status compile_all(fm_product *p, fm_error *err)
{
    for (size_t i = 0; i < N_CLASSES; i++) {
        dnnl_status_t status = dnnl_primitive_create(&p->primitives[i], p->descriptions[i]);
        if (status != dnnl_success) {
            return refused(status, "compile a matrix product", err);
        }
    }
    return FM_OK;
}

/* One primitive on plain memory: oneDNN's few small allocations happen here. */
static dnnl_status_t execute(dnnl_engine_t engine, const_dnnl_primitive_t primitive, size_t n,
                             const int *names, const dnnl_memory_desc_t *const *descs,
                             void *const *data)
{
    dnnl_exec_arg_t args[4] = {{0, NULL}};
    dnnl_stream_t stream = NULL;
    assert(n <= sizeof args / sizeof args[0]);
    dnnl_status_t status = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
    for (size_t i = 0; i < n && status == dnnl_success; i++) {
        args[i].arg = names[i];
        status = dnnl_memory_create(&args[i].memory, descs[i], engine, data[i]);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_execute(primitive, stream, (int)n, args);
    }
    if (status == dnnl_success) {
        status = dnnl_stream_wait(stream);
    }
    for (size_t i = 0; i < n; i++) {
        (void)dnnl_memory_destroy(args[i].memory);
    }
    (void)dnnl_stream_destroy(stream);
    return status;
}

static dnnl_status_t class_run(const fm_product *p, size_t row_class, const float *in, float *out,
                               void *scratch)
{
    const_dnnl_primitive_desc_t description = p->descriptions[row_class];
    union {
        const float *constant;
        void *plain;
    } source = {.constant = in}; /* dnnl_memory knows no const; the product only reads it */
    const int names[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};
    const dnnl_memory_desc_t *const descs[] = {
        dnnl_primitive_desc_query_md(description, dnnl_query_src_md, 0),
        &p->weight_desc,
        dnnl_primitive_desc_query_md(description, dnnl_query_dst_md, 0),
        dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0),
    };
    void *const data[] = {source.plain, p->weight, out, scratch};
    return execute(p->engine, p->primitives[row_class], 4, names, descs, data);
}

static dnnl_status_t reorder(fm_product *p, const float *weight)
{
    const dnnl_dims_t dims = {(dnnl_dim_t)p->inputs, (dnnl_dim_t)p->outputs};
    const dnnl_dims_t strides = {1, (dnnl_dim_t)p->inputs};
    dnnl_memory_desc_t plain;
    dnnl_primitive_desc_t description = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_status_t status = dnnl_memory_desc_init_by_strides(&plain, 2, dims, dnnl_f32, strides);
    if (status == dnnl_success) {
        status = dnnl_reorder_primitive_desc_create(&description, &plain, p->engine,
                                                    &p->weight_desc, p->engine, NULL);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_create(&primitive, description);
    }
    if (status == dnnl_success) {
        union {
            const float *constant;
            void *plain;
        } source = {.constant = weight};
        const int names[] = {DNNL_ARG_FROM, DNNL_ARG_TO};
        const dnnl_memory_desc_t *const descs[] = {&plain, &p->weight_desc};
        void *const data[] = {source.plain, p->weight};
        status = execute(p->engine, primitive, 2, names, descs, data);
    }
    if (primitive != NULL) {
        (void)dnnl_primitive_destroy(primitive);
    }
    if (description != NULL) {
        (void)dnnl_primitive_desc_destroy(description);
    }
    return status;
}

static fm_status weight_pack(fm_product *p, const float *weight, fm_error *err)
{
    p->weight_bytes = dnnl_memory_desc_get_size(&p->weight_desc);
    p->weight = fm_alloc(p->weight_bytes);
    if (p->weight == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory for %zu bytes of weights", p->weight_bytes);
    }
    dnnl_status_t status = reorder(p, weight);
    return status == dnnl_success ? FM_OK : refused(status, "pack weights", err);
}

/* Runs one row, repeated, through every class: *ret is whether all bytes agree. */
static fm_status classes_agree(const fm_product *p, bool *ret, fm_error *err)
{
    size_t in_count = CLASS_ROWS_MAX * p->in_stride, out_count = CLASS_ROWS_MAX * p->out_stride;
    float *in = fm_alloc_array(in_count, sizeof *in);
    float *out = fm_alloc_array(out_count, sizeof *out);
    float *first = fm_alloc_array(p->outputs, sizeof *first);
    void *scratch = fm_alloc(p->scratch_bytes + 1);
    fm_status result = FM_OK;
    *ret = true;
    if (in == NULL || out == NULL || first == NULL || scratch == NULL) {
        result = fm_fail(err, FM_ENOMEM, "out of memory for trying a layer");
        goto out;
    }
    for (size_t i = 0; i < in_count; i++) {
        in[i] = sinf(1.0F + (float)(i % p->in_stride)); /* any full-length digits */
    }
    for (size_t i = 0; i < N_CLASSES; i++) {
        dnnl_status_t status = class_run(p, i, in, out, scratch);
        if (status != dnnl_success) {
            result = refused(status, "run a matrix product", err);
            goto out;
        }
        if (i == 0) {
            memcpy(first, out, p->outputs * sizeof *first);
        }
        for (size_t row = 0; row < row_classes[i]; row++) {
            const float *at = out + row * p->out_stride;
            *ret = *ret && memcmp(at, first, p->outputs * sizeof *first) == 0;
        }
    }
out:
    fm_free(in);
    fm_free(out);
    fm_free(first);
    fm_free(scratch);
    return result;
}

static fm_status product_build(fm_product *p, const fm_dense_spec *spec, bool *ret_taken,
                               fm_error *err)
{
    dnnl_status_t made = dnnl_engine_create(&p->engine, dnnl_cpu, 0);
    if (made != dnnl_success) {
        return refused(made, "start", err);
    }
    fm_status status = describe_all(p, ret_taken, err);
    if (status != FM_OK || !*ret_taken) {
        return status;
    }
    status = compile_all(p, err);
    if (status == FM_OK) {
        status = weight_pack(p, spec->weight, err);
    }
    return status == FM_OK ? classes_agree(p, ret_taken, err) : status;
}

fm_status fm_product_new(const fm_dense_spec *spec, fm_product **ret, fm_error *err)
{
    fm_product *p = fm_alloc(sizeof *p);
    if (p == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory for a layer");
    }
    p->inputs = spec->inputs;
    p->outputs = spec->outputs;
    p->in_stride = fm_kernels_round(spec->inputs);
    p->out_stride = fm_kernels_round(spec->outputs);
    int n_threads = omp_get_max_threads();
    omp_set_num_threads(1); /* blocking is chosen for as many threads as will run it */
    bool taken = false;
    fm_status status = product_build(p, spec, &taken, err);
    omp_set_num_threads(n_threads);
    if (status != FM_OK || !taken) {
        fm_product_free(p);
        p = NULL;
    }
    if (status == FM_OK) {
        *ret = p;
    }
    return status;
}

void fm_product_free(fm_product *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < N_CLASSES; i++) {
        if (p->primitives[i] != NULL) {
            (void)dnnl_primitive_destroy(p->primitives[i]);
        }
        if (p->descriptions[i] != NULL) {
            (void)dnnl_primitive_desc_destroy(p->descriptions[i]);
        }
    }
    if (p->engine != NULL) {
        (void)dnnl_engine_destroy(p->engine);
    }
    fm_free(p->weight);
    fm_free(p);
}

/* The smallest class that holds rows <= CLASS_ROWS_MAX. */
static size_t class_of(size_t rows)
{
    size_t i = 0;
    while (row_classes[i] < rows) {
        i++;
    }
    return i;
}

size_t fm_product_padded_rows(size_t rows)
{
    size_t rest = rows % CLASS_ROWS_MAX;
    return rows - rest + (rest > 0 ? row_classes[class_of(rest)] : 0);
}

size_t fm_product_scratch_bytes(const fm_product *p)
{
    return p->scratch_bytes;
}

size_t fm_product_packed_bytes(const fm_product *p)
{
    return p->weight_bytes;
}

fm_status fm_product_run(const fm_product *p, size_t rows, const float *in, float *out,
                         void *scratch)
{
    dnnl_status_t status = dnnl_success;
    for (size_t row = 0; row < rows && status == dnnl_success; row += CLASS_ROWS_MAX) {
        size_t left = rows - row, n = left < CLASS_ROWS_MAX ? left : CLASS_ROWS_MAX;
        status =
            class_run(p, class_of(n), in + row * p->in_stride, out + row * p->out_stride, scratch);
    }
    return status == dnnl_success ? FM_OK : FM_ENOMEM; /* all else was tried at load */
}
