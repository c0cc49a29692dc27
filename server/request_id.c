#include "server/request_id.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

/* The kernel's generator never fails once it is seeded, and it is before any service starts; a signal
 * may cut a read short only beyond 256 bytes. */
static void draw(void *ret, size_t size)
{
    unsigned char *bytes = ret;
    size_t filled = 0;
    while (filled < size) {
        ssize_t got = getrandom(bytes + filled, size - filled, 0);
        filled += got > 0 ? (size_t)got : 0;
    }
}

void fmd_request_id_make(char ret[FMD_REQUEST_ID_MAX + 1])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t milliseconds = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    for (int i = 9; i >= 0; i--) {
        ret[i] = digits[milliseconds & 31];
        milliseconds >>= 5;
    }
    unsigned char random[16];
    draw(random, sizeof random);
    for (int i = 0; i < 16; i++) {
        ret[10 + i] = digits[random[i] & 31];
    }
    ret[26] = '\0';
}

bool fmd_request_id_is_sane(const char *text)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strlen(text);
    return length >= 1 && length <= FMD_REQUEST_ID_MAX && strspn(text, allowed) == length;
}

uint64_t fmd_draw_seed(void)
{
    uint64_t seed;
    draw(&seed, sizeof seed);
    return seed >> 11;
}
