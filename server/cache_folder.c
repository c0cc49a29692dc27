/* The cache folder: from the setting or from the environment. */
#include "server/cache_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_MODE 0755

static bool join(char *ret, size_t size, const char *folder, const char *name)
{
    int length = snprintf(ret, size, "%s/%s", folder, name);
    return length > 0 && (size_t)length < size;
}

/* Relative paths in these variables count as unset, as their specification says. */
static const char *folder_variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] == '/' ? value : NULL;
}

static bool automatic(char *ret, size_t size)
{
    const char *given = folder_variable("CACHE_DIRECTORY");
    const char *cache = folder_variable("XDG_CACHE_HOME");
    const char *home = folder_variable("HOME");
    if (given != NULL) { /* a list with colons where several are configured: the first is ours */
        return snprintf(ret, size, "%.*s", (int)strcspn(given, ":"), given) < (int)size;
    }
    if (cache == NULL && (home == NULL || !join(ret, size, home, ".cache"))) {
        return false;
    }
    if (cache == NULL) {
        (void)mkdir(ret, FOLDER_MODE); /* it is there, or the next line tells */
        return join(ret, size, home, ".cache/velocityd");
    }
    return join(ret, size, cache, "velocityd");
}

bool fmd_cache_folder(const char *setting, char *ret, size_t size)
{
    bool named = strcmp(setting, "auto") == 0 ? automatic(ret, size)
                                              : snprintf(ret, size, "%s", setting) < (int)size;
    if (!named || ret[0] == '\0') {
        return false;
    }
    (void)mkdir(ret, FOLDER_MODE);
    return access(ret, W_OK | X_OK) == 0;
}
