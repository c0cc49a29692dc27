#include "server/admission.h"

#include <assert.h>
#include <math.h>

static uint64_t milliseconds_up(double seconds)
{
    double rounded = ceil(seconds * 1000);
    return rounded < 1 ? 1 : rounded > 1e12 ? 1000000000000 : (uint64_t)rounded;
}

/* Bytes that fit; written as a subtraction, which cannot overflow. */
static bool bytes_fit(const fmd_admission *admission, uint64_t bytes)
{
    return admission->bytes <= admission->max_bytes &&
           bytes <= admission->max_bytes - admission->bytes;
}

fmd_verdict fmd_admission_take(fmd_admission *admission, const fmd_cost *cost, const fmd_load *load,
                               uint64_t *ret_retry_after_ms)
{
    assert(cost->seconds >= 0 && cost->work_seconds >= 0 && load->ahead_seconds >= 0);
    assert(load->work_seconds >= 0 && load->place_seconds >= 0 && load->gone_seconds >= 0);
    if (cost->bytes > admission->max_bytes) {
        return FMD_TOO_LARGE;
    }
    if (admission->requests >= admission->max_requests) {
        *ret_retry_after_ms = milliseconds_up(load->place_seconds);
        return FMD_QUEUE_FULL;
    }
    double excess = load->ahead_seconds + cost->seconds - admission->max_seconds;
    if (admission->requests > 0 && excess > 0) {
        double pace = load->work_seconds > 0 ? load->gone_seconds / load->work_seconds : 1;
        *ret_retry_after_ms = milliseconds_up(fmin(excess * fmax(pace, 1), load->gone_seconds));
        return FMD_QUEUE_FULL;
    }
    if (!bytes_fit(admission, cost->bytes)) {
        /* The first to end may hold few of them: as long as one of them takes on the average, then. */
        double one =
            load->gone_seconds / (double)(admission->requests > 0 ? admission->requests : 1);
        *ret_retry_after_ms = milliseconds_up(fmax(load->place_seconds, one));
        return FMD_MEMORY_FULL;
    }
    admission->requests++;
    admission->seconds += cost->work_seconds;
    admission->bytes += cost->bytes;
    return FMD_ADMITTED;
}

void fmd_admission_release(fmd_admission *admission, const fmd_cost *cost)
{
    assert(admission->requests > 0);
    assert(admission->bytes >= cost->bytes);
    admission->requests--;
    admission->bytes -= cost->bytes;
    /* The sum of nothing is nothing, whatever the rounding before. */
    double rest = fmax(0, admission->seconds - cost->work_seconds);
    admission->seconds = admission->requests == 0 ? 0 : rest;
}

bool fmd_admission_take_bytes(fmd_admission *admission, uint64_t bytes)
{
    if (!bytes_fit(admission, bytes)) {
        return false;
    }
    admission->bytes += bytes;
    return true;
}

void fmd_admission_release_bytes(fmd_admission *admission, uint64_t bytes)
{
    assert(admission->bytes >= bytes);
    admission->bytes -= bytes;
}
