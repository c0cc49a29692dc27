#include "server/accept.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

/* A piece of a header: not NUL-terminated. */
typedef struct span {
    const char *text;
    size_t length;
} span;

static span trim(span piece)
{
    while (piece.length > 0 && isspace((unsigned char)piece.text[0])) {
        piece.text++;
        piece.length--;
    }
    while (piece.length > 0 && isspace((unsigned char)piece.text[piece.length - 1])) {
        piece.length--;
    }
    return piece;
}

/* Cuts the next piece up to `separator` off *rest. */
static span cut(span *rest, char separator)
{
    const char *end = memchr(rest->text, separator, rest->length);
    size_t length = end == NULL ? rest->length : (size_t)(end - rest->text);
    span piece = {rest->text, length};
    size_t skipped = end == NULL ? length : length + 1;
    rest->text += skipped;
    rest->length -= skipped;
    return trim(piece);
}

/* How specifically a media range names a type: 3 it does, 2 "type/" and a star, 1 both stars, 0 not. */
static int specificity(span range, const char *type)
{
    size_t length = strlen(type), major = strcspn(type, "/") + 1;
    if (range.length == length && strncasecmp(range.text, type, length) == 0) {
        return 3;
    }
    if (range.length == major + 1 && range.text[major] == '*' &&
        strncasecmp(range.text, type, major) == 0) {
        return 2;
    }
    return range.length == 3 && memcmp(range.text, "*/*", 3) == 0 ? 1 : 0;
}

/* "0.8" as 800; what is not a quality counts as 1000, as if it were not there. */
static int quality_parse(span text)
{
    if (text.length == 0 || text.length > 5 || (text.text[0] != '0' && text.text[0] != '1') ||
        (text.length > 1 && text.text[1] != '.')) {
        return 1000;
    }
    int quality = (text.text[0] - '0') * 1000, unit = 100;
    for (size_t i = 2; i < text.length; i++, unit /= 10) {
        if (!isdigit((unsigned char)text.text[i])) {
            return 1000;
        }
        quality += (text.text[i] - '0') * unit;
    }
    return quality > 1000 ? 1000 : quality;
}

static int quality_of(span parameters)
{
    while (parameters.length > 0) {
        span parameter = cut(&parameters, ';');
        if (parameter.length >= 2 && (parameter.text[0] | 0x20) == 'q' &&
            parameter.text[1] == '=') {
            return quality_parse((span){parameter.text + 2, parameter.length - 2});
        }
    }
    return 1000;
}

int fmd_accept_quality(const char *accept, const char *type)
{
    if (accept == NULL) {
        return 1000;
    }
    span rest = {accept, strlen(accept)};
    int best = 0, quality = 0;
    while (rest.length > 0) {
        span element = cut(&rest, ',');
        span range = cut(&element, ';');
        int how = specificity(range, type);
        if (how > best) {
            best = how;
            quality = quality_of(element);
        }
    }
    return quality;
}

bool fmd_media_type_is(const char *content_type, const char *type)
{
    span rest = {content_type, strlen(content_type)};
    span found = cut(&rest, ';');
    return found.length == strlen(type) && strncasecmp(found.text, type, found.length) == 0;
}
