/* Shortest decimals by Schubfach, laid out as JavaScript's Number::toString lays them out below 10^18.
 *
 * DESIGN. A finite v > 0 is c 2^q. Every real between the midpoints to its two neighbours reads back
 * as v (the midpoints themselves too where c is even). With k = floor(log10 of the interval's width),
 * the interval holds at least one multiple of 10^k and at most one of 10^(k+1); the latter, if there,
 * is the shortest, else the multiple of 10^k nearest to v is. The products v 10^-k and those of the
 * midpoints are needed only to two bits behind the point and a sticky bit ("round to odd"), which 64
 * bits of 10^-k give for binary32 and 128 bits for binary64.
 *
 * Source: Giulietti, "The Schubfach way to render doubles", 2021, sections 8 and 9. Layout: ECMA-262,
 * Number::toString. */
#include "proto/number.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

__extension__ typedef unsigned __int128 wide;

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the digits of a number are stored lowest byte first"
#endif

#define FIRST_POWER  -292
#define PLAIN_DIGITS 18 /* all integers of so many digits are int64's, as JSON readers want them */

typedef struct power_of_ten {
    uint64_t high, low;
} power_of_ten;

static const power_of_ten powers[] = {
#define FMP_POWER(k, high, low) [(k) - FIRST_POWER] = {high, low},
#include "proto/number_powers.def"
#undef FMP_POWER
};

/* digits 10^exponent */
typedef struct decimal {
    uint64_t digits;
    int exponent;
} decimal;

/* What v 10^-k and its midpoints are, times 4, rounded to odd. */
typedef struct scaled {
    uint64_t lower, value, upper;
} scaled;

/* floor(log10(2^q)), or floor(log10(3/4 2^q)) where the lower neighbour is half as far. */
static inline int floor_log10_of_width(int q, bool lower_is_closer)
{
    return (q * 1262611 - (lower_is_closer ? 524031 : 0)) >> 22;
}

static inline int floor_log2_of_power_of_ten(int k)
{
    return (k * 1741647) >> 19;
}

static inline const power_of_ten *power_at(int k)
{
    int index = k - FIRST_POWER;
    assert(index >= 0 && (size_t)index < sizeof powers / sizeof *powers);
    return &powers[index];
}

static inline uint64_t multiply_float(uint64_t g, uint32_t c)
{
    wide product = (wide)g * c;
    uint32_t below = (uint32_t)(product >> 32);
    return (uint64_t)(product >> 64) | (below > 1);
}

static inline uint64_t multiply_double(const power_of_ten *g, uint64_t c)
{
    uint64_t carry = (uint64_t)((wide)g->low * c >> 64);
    wide product = (wide)g->high * c + carry;
    return (uint64_t)(product >> 64) | ((uint64_t)product > 1);
}

/* The shortest decimal within the interval; midpoints count where the significand is even. Both
 * candidates are computed and one selected, for which one it is no branch predictor can know. */
static inline decimal choose(scaled v, bool even, int k)
{
    uint64_t lower = v.lower + !even;
    uint64_t upper = v.upper - !even;
    uint64_t s = v.value / 4;
    uint64_t tens = s / 10;
    bool tens_below = lower <= 40 * tens;
    bool tens_above = 40 * tens + 40 <= upper;
    bool below = lower <= 4 * s;
    bool above = 4 * s + 4 <= upper;
    uint64_t middle = 4 * s + 2;
    bool nearer_above = v.value > middle || (v.value == middle && (s & 1) != 0);
    uint64_t ones = s + (below != above ? above : nearer_above);
    bool use_tens = (s >= 10) & (tens_below != tens_above);
    return (decimal){use_tens ? tens + tens_above : ones, k + use_tens};
}

static inline decimal shortest_float(uint32_t fraction, uint32_t biased_exponent)
{
    uint32_t c = biased_exponent != 0 ? fraction | (UINT32_C(1) << 23) : fraction;
    int q = (biased_exponent != 0 ? (int)biased_exponent : 1) - 150;
    if (q <= 0 && q > -24 && (c & ((UINT32_C(1) << -q) - 1)) == 0) {
        return (decimal){c >> -q, 0}; /* an integer below 2^24 is its own shortest */
    }
    bool lower_is_closer = fraction == 0 && biased_exponent > 1;
    int k = floor_log10_of_width(q, lower_is_closer);
    int shift = q + floor_log2_of_power_of_ten(-k) + 1;
    assert(shift >= 1 && shift <= 4);
    const power_of_ten *power = power_at(-k);
    uint64_t g = power->high + (power->low != 0); /* 64 bits, rounded up */
    scaled v = {multiply_float(g, (4 * c - 2 + lower_is_closer) << shift),
                multiply_float(g, (4 * c) << shift), multiply_float(g, (4 * c + 2) << shift)};
    return choose(v, (c & 1) == 0, k);
}

static decimal shortest_double(uint64_t fraction, uint32_t biased_exponent)
{
    uint64_t c = biased_exponent != 0 ? fraction | (UINT64_C(1) << 52) : fraction;
    int q = (biased_exponent != 0 ? (int)biased_exponent : 1) - 1075;
    if (q <= 0 && q > -53 && (c & ((UINT64_C(1) << -q) - 1)) == 0) {
        return (decimal){c >> -q, 0};
    }
    bool lower_is_closer = fraction == 0 && biased_exponent > 1;
    int k = floor_log10_of_width(q, lower_is_closer);
    int shift = q + floor_log2_of_power_of_ten(-k) + 1;
    assert(shift >= 1 && shift <= 4);
    const power_of_ten *g = power_at(-k);
    scaled v = {multiply_double(g, (4 * c - 2 + lower_is_closer) << shift),
                multiply_double(g, (4 * c) << shift), multiply_double(g, (4 * c + 2) << shift)};
    return choose(v, (c & 1) == 0, k);
}

/* value < 10^8 as eight digit values, one a byte, the first digit in the lowest. Each line halves the
 * lanes: 10486 / 2^20 and 103 / 2^10 are 1/100 and 1/10 closely enough for every lane. */
static inline uint64_t spread_eight(uint32_t value)
{
    uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t hundreds = (fours * 10486 >> 20) & UINT64_C(0x0000007f0000007f);
    uint64_t twos = hundreds | (fours - 100 * hundreds) << 16;
    uint64_t tens = (twos * 103 >> 10) & UINT64_C(0x000f000f000f000f);
    return tens | (twos - 10 * tens) << 8;
}

static inline unsigned leading_zero_bytes(wide digits)
{
    uint64_t low = (uint64_t)digits;
    return (unsigned)(low != 0 ? __builtin_ctzll(low)
                               : 64 + __builtin_ctzll((uint64_t)(digits >> 64))) /
           8;
}

static inline unsigned trailing_zero_bytes(wide digits)
{
    uint64_t high = (uint64_t)(digits >> 64);
    return (unsigned)(high != 0 ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)digits)) /
           8;
}

static inline wide repeat_byte(uint64_t byte)
{
    uint64_t half = byte * UINT64_C(0x0101010101010101);
    return (wide)half << 64 | half;
}

/* "d.ddde+x". */
static size_t write_exponential(char *ret, const char *digits, size_t n, int exponent)
{
    char *at = ret;
    *at++ = digits[0];
    if (n > 1) {
        *at++ = '.';
        memcpy(at, digits + 1, n - 1);
        at += n - 1;
    }
    *at++ = 'e';
    *at++ = exponent < 0 ? '-' : '+';
    unsigned magnitude = (unsigned)(exponent < 0 ? -exponent : exponent);
    for (unsigned unit = magnitude >= 100 ? 100 : magnitude >= 10 ? 10 : 1; unit > 0; unit /= 10) {
        *at++ = (char)('0' + magnitude / unit % 10);
    }
    return (size_t)(at - ret);
}

/* Any layout, out of memory. point: how many digits stand before the decimal point. */
static size_t lay_out(char *ret, const char *digits, size_t n, int point)
{
    if (point > PLAIN_DIGITS || point < -5) {
        return write_exponential(ret, digits, n, point - 1);
    }
    if (point <= 0) {
        size_t zeros = (size_t)-point;
        memcpy(ret, "0.00000", 7);
        memcpy(ret + 2 + zeros, digits, n);
        return 2 + zeros + n;
    }
    size_t before = (size_t)point;
    if (before >= n) {
        memcpy(ret, digits, n);
        memset(ret + n, '0', before - n);
        return before;
    }
    memcpy(ret, digits, before);
    ret[before] = '.';
    memcpy(ret + before + 1, digits + before, n - before);
    return n + 1;
}

/* 10^16 <= digits < 10^18: too many for a register, only ever of a double. */
static size_t write_long(char *ret, decimal value)
{
    char text[18];
    uint64_t rest = value.digits;
    for (size_t i = sizeof text; i-- > 0;) {
        text[i] = (char)('0' + rest % 10);
        rest /= 10;
    }
    const char *digits = text + (text[0] == '0');
    size_t n = (size_t)(text + sizeof text - digits);
    int point = (int)n + value.exponent;
    while (digits[n - 1] == '0') {
        n--;
    }
    return lay_out(ret, digits, n, point);
}

/* Up to 16 digits live in one 128-bit register, a byte each, first digit lowest: dropping zeros and
 * making room for the point are shifts, and the text leaves in one store. That keeps the usual numbers
 * off loops whose length no branch predictor knows. */
static inline size_t write_decimal(char *ret, decimal value)
{
    if (value.digits >= UINT64_C(10000000000000000)) {
        return write_long(ret, value);
    }
    wide digits = (wide)spread_eight((uint32_t)(value.digits % 100000000)) << 64 |
                  spread_eight((uint32_t)(value.digits / 100000000));
    unsigned leading = leading_zero_bytes(digits);
    unsigned trailing = trailing_zero_bytes(digits);
    size_t n = 16 - leading - trailing;
    int point = 16 - (int)leading + value.exponent;
    digits = (digits >> (8 * leading)) | repeat_byte('0');
    if (point <= 0 && point >= -5) {
        memcpy(ret, "0.00000", 8);
        memcpy(ret + 2 - point, &digits, sizeof digits);
        return 2 + (size_t)-point + n;
    }
    if (point > 0 && point < 15 && n < 16) {
        unsigned before = 8 * (unsigned)point;
        wide whole = digits & (((wide)1 << before) - 1);
        wide text = whole | (wide)'.' << before | (digits ^ whole) << 8;
        memcpy(ret, &text, sizeof text);
        return n > (size_t)point ? n + 1 : (size_t)point;
    }
    char text[sizeof digits];
    memcpy(text, &digits, sizeof text);
    return lay_out(ret, text, n, point);
}

size_t fmp_number_write_float(char *ret, float value)
{
    assert(isfinite(value));
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    size_t sign = bits >> 31;
    *ret = '-'; /* overwritten where there is no sign */
    if ((bits << 1) == 0) {
        ret[sign] = '0';
        return sign + 1;
    }
    decimal shortest = shortest_float(bits & ((UINT32_C(1) << 23) - 1), (bits >> 23) & 0xff);
    return sign + write_decimal(ret + sign, shortest);
}

size_t fmp_number_write_double(char *ret, double value)
{
    assert(isfinite(value));
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    size_t sign = bits >> 63;
    *ret = '-';
    if ((bits << 1) == 0) {
        ret[sign] = '0';
        return sign + 1;
    }
    decimal shortest =
        shortest_double(bits & ((UINT64_C(1) << 52) - 1), (uint32_t)(bits >> 52) & 0x7ff);
    return sign + write_decimal(ret + sign, shortest);
}

#define CHUNK 512 /* numbers that are given room at once */

/* A list of numbers of either type. */
typedef struct number_list {
    const float *floats; /* or NULL: doubles */
    const double *doubles;
} number_list;

static size_t write_one(char *ret, const number_list *list, size_t index)
{
    return list->floats != NULL ? fmp_number_write_float(ret, list->floats[index])
                                : fmp_number_write_double(ret, list->doubles[index]);
}

/* n numbers with commas between, '[' and ']' around them where the list starts or ends here. */
static void write_chunk(fmp_buffer *buffer, const number_list *list, size_t first, size_t n,
                        bool starts, bool ends)
{
    char *start = fmp_buffer_reserve(buffer, n * FMP_NUMBER_MAX_BYTES + 2);
    if (start == NULL) {
        return;
    }
    char *at = start;
    *at++ = starts ? '[' : ',';
    if (list->floats != NULL) {
        for (size_t i = 0; i < n; i++) {
            at += fmp_number_write_float(at, list->floats[first + i]);
            *at++ = ',';
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            at += fmp_number_write_double(at, list->doubles[first + i]);
            *at++ = ',';
        }
    }
    if (ends) {
        at[-1] = ']'; /* over the last comma */
    } else {
        at--;
    }
    fmp_buffer_commit(buffer, (size_t)(at - start));
}

/* The same without asking for more room than the text needs, for the last bytes below the limit. */
static void write_tightly(fmp_buffer *buffer, const number_list *list, size_t first, size_t n,
                          bool starts, bool ends)
{
    char text[FMP_NUMBER_MAX_BYTES];
    for (size_t i = 0; i < n && !buffer->failed; i++) {
        fmp_buffer_append(buffer, i == 0 && starts ? "[" : ",", 1);
        fmp_buffer_append(buffer, text, write_one(text, list, first + i));
    }
    if (ends) {
        fmp_buffer_append(buffer, "]", 1);
    }
}

static void write_innermost(fmp_buffer *buffer, const number_list *list, size_t first, size_t n)
{
    if (n == 0) {
        fmp_buffer_append(buffer, "[]", 2);
        return;
    }
    for (size_t done = 0; done < n && !buffer->failed;) {
        size_t count = n - done < CHUNK ? n - done : CHUNK;
        bool roomy = (buffer->limit_bytes - buffer->length) / FMP_NUMBER_MAX_BYTES > count;
        (roomy ? write_chunk : write_tightly)(buffer, list, first + done, count, done == 0,
                                              done + count == n);
        done += count;
    }
}

/* The nested array whose first number is `first`; returns the index after its last. */
static size_t write_nested(fmp_buffer *buffer, const number_list *list, size_t first, size_t rank,
                           const size_t *shape)
{
    if (rank == 0) {
        char text[FMP_NUMBER_MAX_BYTES];
        fmp_buffer_append(buffer, text, write_one(text, list, first));
        return first + 1;
    }
    if (rank == 1) {
        write_innermost(buffer, list, first, shape[0]);
        return first + shape[0];
    }
    fmp_buffer_append(buffer, "[", 1);
    for (size_t i = 0; i < shape[0] && !buffer->failed; i++) {
        if (i > 0) {
            fmp_buffer_append(buffer, ",", 1);
        }
        first = write_nested(buffer, list, first, rank - 1, shape + 1);
    }
    fmp_buffer_append(buffer, "]", 1);
    return first;
}

void fmp_number_write_floats(fmp_buffer *buffer, const float *values, size_t rank,
                             const size_t *shape)
{
    number_list list = {.floats = values};
    (void)write_nested(buffer, &list, 0, rank, shape);
}

void fmp_number_write_doubles(fmp_buffer *buffer, const double *values, size_t rank,
                              const size_t *shape)
{
    number_list list = {.doubles = values};
    (void)write_nested(buffer, &list, 0, rank, shape);
}
