/* Tensors of a request: nested lists of numbers, or {"dtype", "shape", "data"} with base64. */
#include "proto/base64.h"
#include "proto/lat_lon.h"
#include "proto/parse.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_RULE "must be a number within the range of float32"

/* A tensor being read: its values so far and the index at each level. */
typedef struct tensor_reader {
    fmp_parse *parse;
    const char *pointer;
    bool on_globe;      /* its last axis is a unit vector, which may be a latitude and longitude */
    bool are_tokens;    /* they may be int32 in base64 */
    bool is_double;     /* the range is float64's, not float32's */
    const char *name;   /* whose shape is told where a list has another length; NULL: of none */
    size_t least, most; /* of the first length */
    size_t rank, shape[FM_MAX_RANK + 1];
    size_t index[FM_MAX_RANK + 1];
    double *values;
    size_t n_values;
    bool broken;
} tensor_reader;

size_t fmp_parse_tensor_rows(json_t *value)
{
    if (json_is_array(value)) {
        return json_array_size(value);
    }
    int64_t rows = 0;
    json_t *first = json_array_get(json_object_get(value, "shape"), 0);
    return fmp_parse_integer(first, &rows) && rows > 0 ? (size_t)rows : 0;
}

/* The first `depth` indices as a pointer. */
static void index_pointer(const tensor_reader *tensor, size_t depth, char *ret, size_t size_bytes)
{
    size_t used = (size_t)snprintf(ret, size_bytes, "%s", tensor->pointer);
    for (size_t i = 0; i < depth && used < size_bytes; i++) {
        used += (size_t)snprintf(ret + used, size_bytes - used, "/%zu", tensor->index[i]);
    }
}

/* The decimals of the largest float32 are above it as float64; rounded, they are that float32. */
static bool is_single(double number)
{
    return isfinite((float)number) != 0;
}

static bool is_within(const tensor_reader *tensor, double number)
{
    return tensor->is_double ? isfinite(number) != 0 : is_single(number);
}

static void read_number(tensor_reader *tensor, json_t *value)
{
    double number = json_number_value(value);
    if (json_is_number(value) && is_within(tensor, number)) {
        tensor->values[tensor->n_values++] = number;
        return;
    }
    char pointer[FMP_POINTER_BYTES];
    index_pointer(tensor, tensor->rank, pointer, sizeof pointer);
    fmp_parse_fail_at(tensor->parse, pointer, NUMBER_RULE);
    tensor->broken = true;
}

/* "[N, 1, 14, 14]" */
static void shape_text(const tensor_reader *tensor, bool counted, const char *first, char *ret,
                       size_t size_bytes)
{
    size_t used = (size_t)snprintf(ret, size_bytes, "[");
    for (size_t i = 0; i < tensor->rank && used < size_bytes; i++) {
        char number[32];
        (void)snprintf(number, sizeof number, "%zu", tensor->shape[i]);
        const char *length = i == 0 && !counted ? first : number;
        const char *end = i + 1 < tensor->rank ? ", " : "]";
        used += (size_t)snprintf(ret + used, size_bytes - used, "%s%s", length, end);
    }
}

static void fail_list(tensor_reader *tensor, size_t depth)
{
    char pointer[FMP_POINTER_BYTES], shape[128], whole[160] = "";
    index_pointer(tensor, depth, pointer, sizeof pointer);
    if (tensor->name != NULL) {
        shape_text(tensor, tensor->least == tensor->most, "N", shape, sizeof shape);
        (void)snprintf(whole, sizeof whole, "; %s must be %s", tensor->name, shape);
    }
    fmp_parse_fail_at(tensor->parse, pointer, "must be a list of %zu %s%s", tensor->shape[depth],
                      depth + 1 < tensor->rank ? "lists" : "numbers", whole);
    tensor->broken = true;
}

/* Of the globe's points also {"lat", "lon"}, in degrees. */
static bool read_lat_lon(tensor_reader *tensor, json_t *point)
{
    json_t *lat = json_object_get(point, "lat"), *lon = json_object_get(point, "lon");
    double degrees[] = {json_number_value(lat), json_number_value(lon)};
    bool valid = json_is_number(lat) && json_is_number(lon) && json_object_size(point) == 2 &&
                 fabs(degrees[0]) <= 90 && fabs(degrees[1]) <= 360;
    if (valid) {
        fmp_lat_lon_vector(degrees[0], degrees[1], tensor->values + tensor->n_values);
        tensor->n_values += 3;
    }
    return valid;
}

static void fail_lat_lon(tensor_reader *tensor)
{
    char pointer[FMP_POINTER_BYTES];
    index_pointer(tensor, tensor->rank - 1, pointer, sizeof pointer);
    fmp_parse_fail_at(
        tensor->parse, pointer,
        "must be {\"lat\": -90 to 90, \"lon\": -360 to 360}, in degrees, or a unit vector");
    tensor->broken = true;
}

/* The depth is the tensor's rank at most, so what a body nests deeper is never followed. */
static void read_nested(tensor_reader *tensor, size_t depth, json_t *value)
{
    if (depth == tensor->rank) {
        read_number(tensor, value);
        return;
    }
    if (tensor->on_globe && depth + 1 == tensor->rank && json_is_object(value)) {
        if (!read_lat_lon(tensor, value)) {
            fail_lat_lon(tensor);
        }
        return;
    }
    if (!json_is_array(value) || json_array_size(value) != tensor->shape[depth]) {
        fail_list(tensor, depth);
        return;
    }
    for (size_t i = 0; i < tensor->shape[depth]; i++) {
        tensor->index[depth] = i;
        read_nested(tensor, depth + 1, json_array_get(value, i));
    }
}

static void fail_member(tensor_reader *tensor, const char *member, const char *text)
{
    char pointer[64];
    (void)snprintf(pointer, sizeof pointer, "%s/%s", tensor->pointer, member);
    fmp_parse_fail_at(tensor->parse, pointer, "%s", text);
    tensor->broken = true;
}

static void check_shape(tensor_reader *tensor, json_t *shape)
{
    bool equal = json_is_array(shape) && json_array_size(shape) == tensor->rank;
    bool counted = tensor->shape[0] > 0; /* else the shape has no first length within the limit */
    for (size_t i = 0; i < tensor->rank; i++) {
        int64_t length = -1;
        equal = equal && fmp_parse_integer(json_array_get(shape, i), &length) &&
                (uint64_t)length == tensor->shape[i];
    }
    if (!equal || !counted) {
        char whole[192], bounds[64] = "", text[288];
        shape_text(tensor, counted, "n", whole, sizeof whole);
        if (!counted) {
            (void)snprintf(bounds, sizeof bounds, ", n from %zu to %zu", tensor->least,
                           tensor->most);
        }
        (void)snprintf(text, sizeof text, "must be %s%s", whole, bounds);
        fail_member(tensor, "shape", text);
    }
}

typedef enum number_type {
    NUMBER_SINGLE,
    NUMBER_DOUBLE,
    NUMBER_INTEGER,
    NUMBER_UNKNOWN
} number_type;

static size_t bytes_of(number_type type)
{
    return type == NUMBER_DOUBLE ? sizeof(double) : sizeof(float); /* as int32_t */
}

/* The bytes of *n_values numbers, little-endian, as doubles. */
static void convert(tensor_reader *tensor, const unsigned char *bytes, number_type type,
                    size_t n_values)
{
    size_t number_bytes = bytes_of(type);
    for (size_t i = 0; i < n_values; i++) {
        uint64_t bits = 0;
        for (size_t k = number_bytes; k-- > 0;) {
            bits = bits << 8 | bytes[i * number_bytes + k];
        }
        double number = 0;
        if (type == NUMBER_DOUBLE) {
            memcpy(&number, &bits, sizeof number);
        } else if (type == NUMBER_INTEGER) {
            number = (double)(int32_t)(uint32_t)bits;
        } else {
            uint32_t half = (uint32_t)bits;
            float single;
            memcpy(&single, &half, sizeof single);
            number = (double)single;
        }
        if (!is_within(tensor, number)) {
            fail_member(tensor, "data",
                        tensor->is_double ? "must hold finite numbers"
                                          : "must hold finite numbers within the range of float32");
            return;
        }
        tensor->values[i] = number;
    }
    tensor->n_values = n_values;
}

static void read_data(tensor_reader *tensor, json_t *data, number_type type, size_t n_values)
{
    size_t number_bytes = bytes_of(type);
    /* The text is in memory and longer: with it, this product cannot overflow unnoticed. */
    if (n_values > json_string_length(data) / number_bytes) {
        fail_member(tensor, "data", "must be the base64 of as many bytes as dtype and shape say");
        return;
    }
    unsigned char *bytes = fmp_parse_alloc(tensor->parse, n_values, number_bytes);
    if (bytes == NULL) {
        tensor->broken = true;
        return;
    }
    if (fmp_base64_read(json_string_value(data), json_string_length(data), bytes,
                        n_values * number_bytes)) {
        convert(tensor, bytes, type, n_values);
    } else {
        fail_member(tensor, "data", "must be the base64 of as many bytes as dtype and shape say");
    }
    free(bytes);
}

static number_type type_of(const tensor_reader *tensor, const char *dtype)
{
    if (dtype == NULL) {
        return NUMBER_UNKNOWN;
    }
    bool is_integer = tensor->are_tokens && strcmp(dtype, "int32") == 0;
    return is_integer                      ? NUMBER_INTEGER
           : strcmp(dtype, "float32") == 0 ? NUMBER_SINGLE
           : strcmp(dtype, "float64") == 0 ? NUMBER_DOUBLE
                                           : NUMBER_UNKNOWN;
}

static void read_object(tensor_reader *tensor, json_t *object, size_t n_values)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(object, key, value)
    {
        if (!fmp_words_have("dtype shape data", key)) {
            fmp_parse_fail_at(tensor->parse, tensor->pointer,
                              "must have no members but dtype, shape and data");
            tensor->broken = true;
        }
    }
    number_type type = type_of(tensor, json_string_value(json_object_get(object, "dtype")));
    if (type == NUMBER_UNKNOWN) {
        fail_member(tensor, "dtype",
                    tensor->are_tokens ? "must be int32, float32 or float64"
                                       : "must be float32 or float64");
    }
    check_shape(tensor, json_object_get(object, "shape"));
    json_t *data = json_object_get(object, "data");
    if (!json_is_string(data)) {
        fail_member(tensor, "data", "must be a base64 string");
    }
    if (!tensor->broken) {
        read_data(tensor, data, type, n_values);
    }
}

/* What is wrong with an array of no rows, or of more than may be. */
static void fail_rows(tensor_reader *tensor, fmp_field_id field, const char *items)
{
    fmp_parse *parse = tensor->parse;
    if (json_is_array(parse->values[field])) {
        fmp_parse_fail(parse, field, "must hold %zu to %zu %s", tensor->least, tensor->most, items);
        return;
    }
    tensor->shape[0] = 0; /* so that its shape is refused, and what else is wrong with it */
    read_object(tensor, parse->values[field], 0);
}

static bool count_values(const fmp_array *array, size_t *ret)
{
    *ret = 1;
    for (size_t i = 0; i < array->rank; i++) {
        if (array->shape[i] != 0 && *ret > SIZE_MAX / array->shape[i]) {
            return false;
        }
        *ret *= array->shape[i];
    }
    return true;
}

double *fmp_parse_array(fmp_parse *parse, fmp_field_id field, const fmp_array *array)
{
    tensor_reader tensor = {.parse = parse,
                            .pointer = fmp_field_at(field)->pointer,
                            .on_globe = array->on_globe,
                            .are_tokens = array->are_tokens,
                            .name = array->name,
                            .least = array->least,
                            .most = array->most,
                            .rank = array->rank};
    size_t n_values = 0;
    assert(array->rank >= 1 && array->rank <= FM_MAX_RANK + 1);
    memcpy(tensor.shape, array->shape, sizeof tensor.shape);
    if (array->shape[0] < array->least || array->shape[0] > array->most) {
        fail_rows(&tensor, field, array->items);
        return NULL;
    }
    if (!count_values(array, &n_values)) {
        parse->out_of_memory = true;
        return NULL;
    }
    tensor.values = fmp_parse_alloc(parse, n_values, sizeof *tensor.values);
    if (tensor.values == NULL) {
        return NULL;
    }
    if (json_is_array(parse->values[field])) {
        read_nested(&tensor, 0, parse->values[field]);
    } else {
        read_object(&tensor, parse->values[field], n_values);
    }
    if (tensor.broken) {
        free(tensor.values);
        return NULL;
    }
    assert(tensor.n_values == n_values);
    return tensor.values;
}

double *fmp_parse_tensor(fmp_parse *parse, fmp_field_id field, size_t n_rows)
{
    const fm_model_info *model = parse->model;
    fmp_array array = {.items = "points",
                       .least = 1,
                       .most = parse->limits->max_samples,
                       .on_globe = fmp_model_is_on_globe(model),
                       .are_tokens = fmp_model_is_text(model),
                       .rank = model->rank + 1,
                       .shape = {n_rows}};
    assert(model->rank <= FM_MAX_RANK && model->dimension >= 1);
    memcpy(array.shape + 1, model->shape, model->rank * sizeof *model->shape);
    double *points = fmp_parse_array(parse, field, &array);
    if (points != NULL && !fmp_parse_accept_points(parse, field, points, n_rows)) {
        free(points);
        return NULL;
    }
    return points;
}

double *fmp_parse_states(fmp_parse *parse, fmp_field_id field, size_t n_rows)
{
    size_t found = fmp_parse_tensor_rows(parse->values[field]);
    bool countable = found >= 1 && found <= parse->limits->max_samples;
    if (countable && found != n_rows) {
        fmp_parse_fail(parse, field, "must hold num_samples = %zu points; it holds %zu", n_rows,
                       found);
    }
    return fmp_parse_tensor(parse, field, found);
}

fmp_vector fmp_parse_vector(fmp_parse *parse, fmp_field_id field, json_t *object, size_t least,
                            size_t most)
{
    size_t n = fmp_parse_tensor_rows(object);
    bool counted = n >= least && n <= most; /* else its shape is refused */
    tensor_reader tensor = {.parse = parse,
                            .pointer = fmp_field_at(field)->pointer,
                            .is_double = true,
                            .least = least,
                            .most = most,
                            .rank = 1,
                            .shape = {counted ? n : 0}};
    tensor.values = fmp_parse_alloc(parse, tensor.shape[0], sizeof *tensor.values);
    if (tensor.values == NULL) {
        return (fmp_vector){NULL, 0};
    }
    read_object(&tensor, object, tensor.shape[0]);
    if (tensor.broken) {
        free(tensor.values);
        return (fmp_vector){NULL, 0};
    }
    return (fmp_vector){tensor.values, tensor.n_values};
}
