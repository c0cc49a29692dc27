/* How much memory the tree of a body takes, before it is parsed. */
#include "proto/parse.h"

#include <stdint.h>

/* What jansson allocates, each piece rounded up as malloc() does: a number takes 32 bytes and, while its
 * list doubles, 24 in tables; a string 48 beside its bytes; a member its pair and its share of buckets;
 * an empty list 128, an empty object 224. A container's first value has no comma, so the bracket pays. */
#define COMMA_BYTES  64
#define COLON_BYTES  80
#define STRING_BYTES 80
#define LIST_BYTES   208
#define OBJECT_BYTES 304
#define BASE_BYTES   512
/* The token being read is kept in a buffer that doubles: the old one and the new one are alive at once. */
#define TOKEN_COPIES 3
/* No byte costs more than its own row above and the copies, so shorter bodies cannot overflow a sum. */
#define MAX_BYTE_COST 512

static const uint16_t costs[256] = {
    [','] = COMMA_BYTES, [':'] = COLON_BYTES,  ['"'] = STRING_BYTES,
    ['['] = LIST_BYTES,  ['{'] = OBJECT_BYTES,
};

size_t fmp_parse_string_end(const char *body, size_t begin, size_t length)
{
    size_t i = begin;
    while (i < length && body[i] != '"') {
        i += body[i] == '\\' ? 2 : 1;
    }
    return i < length ? i : length;
}

size_t fmp_request_tree_bytes(const char *body, size_t length)
{
    if (length > (SIZE_MAX - BASE_BYTES) / MAX_BYTE_COST) {
        return SIZE_MAX;
    }
    size_t total = BASE_BYTES, longest = 0, begin = 0; /* of the longest and the present token */
    for (size_t i = 0; i < length; i++) {
        unsigned cost = costs[(unsigned char)body[i]];
        if (cost == 0) {
            continue;
        }
        total += cost;
        longest = i - begin > longest ? i - begin : longest;
        if (body[i] == '"') {
            size_t end = fmp_parse_string_end(body, i + 1, length);
            total += end - i;
            longest = end - i > longest ? end - i : longest;
            i = end;
        }
        begin = i + 1;
    }
    size_t rest = begin < length ? length - begin : 0;
    longest = rest > longest ? rest : longest;
    return total + TOKEN_COPIES * longest;
}
