#include "engine/checkpoint/utf8.h"

#include <stdbool.h>

size_t fm_utf8_length(const unsigned char *text, size_t left)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned first = text[0];
    size_t bytes = first < 0x80                     ? 1
                   : first >= 0xc2 && first < 0xe0  ? 2
                   : first >= 0xe0 && first < 0xf0  ? 3
                   : first >= 0xf0 && first <= 0xf4 ? 4
                                                    : 0;
    if (bytes == 0 || bytes > left) {
        return 0;
    }
    unsigned code = bytes == 1 ? first : first & (0x7fU >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((text[i] & 0xc0U) != 0x80U) {
            return 0;
        }
        code = code << 6 | (text[i] & 0x3fU);
    }
    bool surrogate = code >= 0xd800 && code < 0xe000;
    return code >= least[bytes] && code <= 0x10ffff && !surrogate ? bytes : 0;
}
