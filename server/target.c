#include "server/target.h"

#include <stddef.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The byte of a "%XX", or -1. */
static int escape_byte(const char *text)
{
    int high = text[0] == '%' ? hex_digit(text[1]) : -1;
    int low = high < 0 ? -1 : hex_digit(text[2]);
    return low < 0 ? -1 : high * 16 + low;
}

static bool bytes_are_sane(const char *text, const char **ret_reason)
{
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte <= 0x20 || byte >= 0x7f) {
            *ret_reason = "the request target holds a byte that no URL may";
            return false;
        }
        if (*c != '%') {
            continue;
        }
        int escaped = escape_byte(c);
        if (escaped < 0x20 || escaped == 0x7f) {
            *ret_reason = "the request target holds a broken or forbidden percent escape";
            return false;
        }
    }
    return true;
}

/* Skips "http://authority" of the absolute form. */
static const char *skip_authority(const char *text)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i]);
        if (strncasecmp(text, schemes[i], length) == 0) {
            const char *path = text + length + strcspn(text + length, "/?");
            return path;
        }
    }
    return text;
}

static bool decode_path(const char *path, size_t length, fmd_target *ret, const char **ret_reason)
{
    size_t written = 0;
    ret->is_cut = false;
    for (size_t i = 0; i < length;) {
        int escaped = escape_byte(path + i);
        if (escaped == '/') {
            *ret_reason = "the request target holds an encoded slash";
            return false;
        }
        if (written + 1 < FMD_PATH_MAX) {
            ret->path[written++] = escaped < 0 ? path[i] : (char)escaped;
        } else {
            ret->is_cut = true;
        }
        i += escaped < 0 ? 1 : 3;
    }
    ret->path[written] = '\0';
    if (written == 0) {
        memcpy(ret->path, "/", 2);
    }
    return true;
}

bool fmd_target_parse(const char *text, fmd_target *ret, const char **ret_reason)
{
    if (!bytes_are_sane(text, ret_reason)) {
        return false;
    }
    const char *path = skip_authority(text);
    size_t length = strcspn(path, "?#");
    ret->query = path[length] == '?' ? path + length + 1 : "";
    bool absolute = path != text;
    if (!(path[0] == '/' || (absolute && length == 0) || strcmp(path, "*") == 0)) {
        *ret_reason = "the request target must begin with a slash";
        return false;
    }
    return decode_path(path, length, ret, ret_reason);
}

fmd_query fmd_query_parse(const char *query)
{
    if (strcmp(query, "") == 0 || strcmp(query, "dry_run=0") == 0) {
        return FMD_QUERY_PLAIN;
    }
    return strcmp(query, "dry_run=1") == 0 ? FMD_QUERY_DRY_RUN : FMD_QUERY_INVALID;
}
