#include "engine/fm_model.h"

#define MAX_LENGTH ((size_t)64)

static bool is_name_character(char c, bool first)
{
    bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    return plain || (!first && (c == '.' || c == '_' || c == '-'));
}

bool fm_model_name_is_valid(const char *name, size_t length)
{
    if (length == 0 || length > MAX_LENGTH) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!is_name_character(name[i], i == 0)) {
            return false;
        }
    }
    return true;
}
