/* Fault injection for memory. */
#include "tests/support/failing_memory.h"

#include "engine/memory.h"

#include <jansson.h>
#include <stdlib.h>

static size_t left;
static bool refused, refused_json_first;

static bool take_turn(bool json)
{
    if (left == 0) {
        refused_json_first = refused ? refused_json_first : json;
        refused = true;
        return false;
    }
    left--;
    return true;
}

static bool engine_hook(void *context, size_t size_bytes)
{
    (void)context;
    (void)size_bytes;
    return take_turn(false);
}

static void *json_hook(size_t size_bytes)
{
    return take_turn(true) ? malloc(size_bytes) : NULL;
}

void failing_memory_start(size_t k)
{
    left = k;
    refused = false;
    refused_json_first = false;
    fm_memory_set_hook(engine_hook, NULL);
    json_set_alloc_funcs(json_hook, free);
}

bool failing_memory_stop(void)
{
    fm_memory_set_hook(NULL, NULL);
    json_set_alloc_funcs(malloc, free);
    return refused;
}

bool failing_memory_explains(fm_status status)
{
    return refused && (status == FM_ENOMEM || (refused_json_first && status == FM_EFORMAT));
}
