/* Lets allocations succeed until the k-th, of the engine's allocator and jansson's together: so that a
 * test can walk every path that an exhausted memory takes. Not for tests with threads. */
#ifndef TESTS_FAILING_MEMORY_H
#define TESTS_FAILING_MEMORY_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>

/* Allocation number k (from 0) and every one behind it fails. */
void failing_memory_start(size_t k);
/* Ends it; whether an allocation was refused. */
bool failing_memory_stop(void);
/* Whether status is what an exhausted memory must lead to: FM_ENOMEM, or FM_EFORMAT where the first
 * allocation refused was jansson's, which takes some of its own failures for bad input. */
bool failing_memory_explains(fm_status status);

#endif
