/* Names of enumerations, one in each place of a table. */
#ifndef FM_NAME_H
#define FM_NAME_H

#include <string.h>

/* The place of a name among n; n when it has none. */
static inline unsigned fm_name_find(const char *const *names, unsigned n, const char *name)
{
    unsigned i = 0;
    while (i < n && strcmp(names[i], name) != 0) {
        i++;
    }
    return i;
}

#endif
