#include "tests/support/text.h"

#include <check.h>
#include <string.h>

void text_append(void *context, const char *piece, size_t length)
{
    text *to = context;
    ck_assert_uint_lt(to->length + length, sizeof to->bytes);
    memcpy(to->bytes + to->length, piece, length);
    to->length += length;
    to->bytes[to->length] = '\0';
}

void text_expect(const text *found, const char *needle)
{
    ck_assert_msg(strstr(found->bytes, needle) != NULL, "expected \"%s\" in:\n%s", needle,
                  found->bytes);
}
