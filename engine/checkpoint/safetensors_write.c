/* A header of JSON, then the bytes as they are. */
#include "engine/checkpoint/safetensors_write.h"

#include "engine/checkpoint/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES ((size_t)8)

static int compare_row(const void *left, const void *right)
{
    const fm_safetensors_row *a = left;
    const fm_safetensors_row *b = right;
    size_t a_bytes = fm_dtype_size_bytes(a->tensor->dtype);
    size_t b_bytes = fm_dtype_size_bytes(b->tensor->dtype);
    if (a_bytes != b_bytes) {
        return a_bytes > b_bytes ? -1 : 1;
    }
    return strcmp(a->name, b->name);
}

/* {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}; NULL when out of memory. */
static json_t *describe(const fm_tensor *tensor, size_t begin)
{
    json_t *shape = json_array();
    for (size_t axis = 0; shape != NULL && axis < tensor->rank; axis++) {
        if (json_array_append_new(shape, json_integer((json_int_t)tensor->shape[axis])) != 0) {
            json_decref(shape);
            shape = NULL;
        }
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", fm_dtype_name(tensor->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + tensor->size_bytes));
}

/* The header's text, from malloc(); NULL when out of memory. */
static char *make_header(const fm_safetensors_row *rows, size_t count, size_t *ret_data_bytes)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    bool made = header != NULL;
    size_t begin = 0;
    for (size_t i = 0; made && i < count; i++) {
        made = json_object_set_new(header, rows[i].name, describe(rows[i].tensor, begin)) == 0;
        begin += rows[i].tensor->size_bytes;
    }
    char *text = made ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    *ret_data_bytes = begin;
    return text;
}

static fm_status write_header(fm_output_file *file, const char *text, size_t *ret_size_bytes,
                              fm_error *err)
{
    size_t length = strlen(text);
    size_t padded = (length + LENGTH_BYTES - 1) / LENGTH_BYTES * LENGTH_BYTES;
    if (padded > FM_SAFETENSORS_MAX_HEADER_BYTES) {
        return fm_fail(err, FM_EFORMAT, "header: at most %zu bytes are allowed, %zu are needed",
                       FM_SAFETENSORS_MAX_HEADER_BYTES, padded);
    }
    unsigned char head[LENGTH_BYTES];
    for (size_t i = 0; i < LENGTH_BYTES; i++) {
        head[i] = (unsigned char)(padded >> (8 * i));
    }
    fm_status status = fm_output_file_write(file, head, sizeof head, err);
    if (status == FM_OK) {
        status = fm_output_file_write(file, text, length, err);
    }
    *ret_size_bytes = LENGTH_BYTES + padded;
    return status == FM_OK ? fm_output_file_write(file, "        ", padded - length, err) : status;
}

fm_status fm_safetensors_write(const fm_output_folder *folder, const char *name,
                               fm_safetensors_row *rows, size_t count, size_t *ret_size_bytes,
                               fm_error *err)
{
    if (count > 1) {
        qsort(rows, count, sizeof *rows, compare_row);
    }
    size_t data_bytes = 0, head_bytes = 0;
    char *header = make_header(rows, count, &data_bytes);
    if (header == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a header of %zu tensors", count);
    }
    fm_output_file file;
    fm_status status = fm_output_file_begin(folder, name, &file, err);
    if (status == FM_OK) {
        status = write_header(&file, header, &head_bytes, err);
        for (size_t i = 0; status == FM_OK && i < count; i++) {
            status =
                fm_output_file_write(&file, rows[i].tensor->data, rows[i].tensor->size_bytes, err);
        }
        status = fm_output_file_end(&file, status, err);
    }
    free(header);
    if (status == FM_OK) {
        *ret_size_bytes = head_bytes + data_bytes;
    }
    return status;
}
