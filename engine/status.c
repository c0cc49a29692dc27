/* Names and texts of status.def, and the two ways to set an error. */
#include "engine/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#undef fm_fail /* what the analyzer is told instead; see status.h */
#undef fm_fail_prefix

fm_status fm_fail(fm_error *err, fm_status status, const char *format, ...)
{
    if (err != NULL) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(err->text, sizeof err->text, format, arguments);
        va_end(arguments);
        err->status = status;
    }
    return status;
}

fm_status fm_fail_prefix(fm_error *err, fm_status status, const char *format, ...)
{
    if (err != NULL) {
        char text[sizeof err->text];
        va_list arguments;
        va_start(arguments, format);
        int length = vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        size_t used = length < 0 ? 0 : (size_t)length;
        if (used < sizeof text) {
            (void)snprintf(text + used, sizeof text - used, ": %.*s", (int)(sizeof text - used),
                           err->text);
        }
        memcpy(err->text, text, sizeof text);
        err->status = status;
    }
    return status;
}

const char *fm_status_name(fm_status status)
{
    switch (status) {
#define FM_STATUS(name, code, text)                                                                \
    case FM_##name:                                                                                \
        return #name;
#include "engine/status.def"
#undef FM_STATUS
    }
    return "UNKNOWN";
}

const char *fm_status_text(fm_status status)
{
    switch (status) {
#define FM_STATUS(name, code, text)                                                                \
    case FM_##name:                                                                                \
        return text;
#include "engine/status.def"
#undef FM_STATUS
    }
    return "unknown status";
}
