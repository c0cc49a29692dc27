/* Where the engine remembers its trials of models. */
#ifndef FMD_CACHE_FOLDER_H
#define FMD_CACHE_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

/* [engine] cache_folder as a path: "auto" is the first of $CACHE_DIRECTORY (set by the service manager),
 * $XDG_CACHE_HOME/velocityd and ~/.cache/velocityd. Makes the folder, and the user's cache folder above it.
 *   ret  [size]
 * false: there is none to use, which only costs time. */
bool fmd_cache_folder(const char *setting, char *ret, size_t size);

#endif
