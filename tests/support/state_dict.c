/* Reading listings, writing files that are mostly holes. */
#include "tests/support/state_dict.h"

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TENSORS  1024
#define ENTRY_BYTES  ((size_t)256)
#define NUMBER_BYTES sizeof(float)

static void read_line(state_dict_tensor *ret, const char *file, char *line)
{
    char *open = strstr(line, " [");
    char *close = strstr(line, "] torch.float32");
    ck_assert_msg(open != NULL && close != NULL, "%s: not a tensor: %s", file, line);
    *ret = (state_dict_tensor){0};
    ck_assert_uint_lt((size_t)(open - line), sizeof ret->name);
    memcpy(ret->name, line, (size_t)(open - line));
    for (char *at = open + 2; at < close;) {
        ck_assert_uint_lt(ret->rank, FM_MAX_RANK);
        ret->shape[ret->rank++] = strtoul(at, &at, 10);
        at += *at == ',' ? 2 : 0;
    }
}

void state_dict_read(state_dict *ret, const char *file)
{
    char line[512];
    FILE *in = fopen(file, "r");
    ck_assert_msg(in != NULL, "%s", file);
    ret->tensors = calloc(MAX_TENSORS, sizeof *ret->tensors);
    ret->count = 0;
    ck_assert_ptr_nonnull(ret->tensors);
    while (fgets(line, sizeof line, in) != NULL) {
        ck_assert_uint_lt(ret->count + 1, MAX_TENSORS);
        read_line(&ret->tensors[ret->count++], file, line);
    }
    ck_assert_int_eq(fclose(in), 0);
}

void state_dict_free(state_dict *it)
{
    free(it->tensors);
    *it = (state_dict){0};
}

static size_t count_of(const state_dict_tensor *tensor)
{
    size_t count = 1;
    for (size_t axis = 0; axis < tensor->rank; axis++) {
        count *= tensor->shape[axis];
    }
    return count;
}

size_t state_dict_parameters(const state_dict *it)
{
    size_t count = 0;
    for (size_t i = 0; i < it->count; i++) {
        count += count_of(&it->tensors[i]);
    }
    return count;
}

static size_t write_entry(const state_dict_tensor *tensor, size_t offset, bool first, char *text)
{
    size_t used = (size_t)snprintf(text, ENTRY_BYTES, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[",
                                   first ? "{" : ",", tensor->name);
    for (size_t axis = 0; axis < tensor->rank; axis++) {
        used += (size_t)snprintf(text + used, ENTRY_BYTES - used, "%s%zu", axis > 0 ? "," : "",
                                 tensor->shape[axis]);
    }
    used += (size_t)snprintf(text + used, ENTRY_BYTES - used, "],\"data_offsets\":[%zu,%zu]}",
                             offset, offset + count_of(tensor) * NUMBER_BYTES);
    ck_assert_uint_lt(used, ENTRY_BYTES);
    return used;
}

void state_dict_write(const state_dict *it, size_t without, const char *file)
{
    char *header = malloc((it->count + 1) * ENTRY_BYTES);
    ck_assert_ptr_nonnull(header);
    size_t length = 0;
    size_t offset = 0;
    for (size_t i = 0; i < it->count; i++) {
        if (i != without) {
            length += write_entry(&it->tensors[i], offset, length == 0, header + length);
            offset += count_of(&it->tensors[i]) * NUMBER_BYTES;
        }
    }
    length +=
        (size_t)snprintf(header + length, ENTRY_BYTES, "%*s", (int)(8 - (length + 1) % 8), "");
    header[length++] = '}';
    uint64_t header_bytes = length;
    FILE *out = fopen(file, "w");
    ck_assert_msg(out != NULL, "%s", file);
    ck_assert_uint_eq(fwrite(&header_bytes, sizeof header_bytes, 1, out), 1);
    ck_assert_uint_eq(fwrite(header, 1, length, out), length);
    ck_assert_int_eq(fflush(out), 0);
    ck_assert_int_eq(ftruncate(fileno(out), (off_t)(sizeof header_bytes + length + offset)), 0);
    ck_assert_int_eq(fclose(out), 0);
    free(header);
}
