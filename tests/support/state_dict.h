/* Listings of state dicts: names and shapes of real networks' tensors, without their numbers. */
#ifndef TESTS_STATE_DICT_H
#define TESTS_STATE_DICT_H

#include "engine/fm.h"

typedef struct state_dict_tensor {
    char name[96];
    size_t rank, shape[FM_MAX_RANK];
} state_dict_tensor;

typedef struct state_dict {
    state_dict_tensor *tensors; /* [count] in the file's order, with room for one more */
    size_t count;
} state_dict;

/* Reads lines "name [shape] torch.float32"; aborts the test when there is something else. */
void state_dict_read(state_dict *ret, const char *file);
void state_dict_free(state_dict *it);
size_t state_dict_parameters(const state_dict *it);

/* Writes it as a safetensors file of float32 zeros, all but tensor `without` (SIZE_MAX: all). The zeros are
 * holes: gigabytes take no space, unless somebody reads them. */
void state_dict_write(const state_dict *it, size_t without, const char *file);

#endif
