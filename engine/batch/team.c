/* Handing out the pieces of an evaluation. */
#include "engine/batch/team.h"

#include <sched.h>

#define NO_PIECE ((uint_fast64_t)UINT32_MAX)
#define SPINS                                                                                      \
    2000 /* some tens of microseconds: longer than what a leader does alone between rounds */

static void relax(unsigned *spins)
{
    if (++*spins > SPINS) {
        (void)sched_yield(); /* somebody else may need this core */
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Claims a piece and runs it; false when there is none. Whoever wins the exchange knows that the round
 * whose fields it read has not ended, for its piece is not done. */
static bool run_one(fm_call_team *team, size_t member)
{
    uint_fast64_t next = atomic_load_explicit(&team->next, memory_order_acquire);
    size_t piece = (size_t)(next & UINT32_MAX);
    size_t n_pieces = atomic_load_explicit(&team->n_pieces, memory_order_acquire);
    fm_piece_run run = atomic_load_explicit(&team->run, memory_order_acquire);
    void *context = atomic_load_explicit(&team->context, memory_order_acquire);
    unsigned char *scratch = atomic_load_explicit(&team->scratch, memory_order_acquire);
    size_t stride = atomic_load_explicit(&team->scratch_stride, memory_order_acquire);
    if (piece >= n_pieces ||
        !atomic_compare_exchange_strong_explicit(&team->next, &next, next + 1, memory_order_acq_rel,
                                                 memory_order_relaxed)) {
        return piece < n_pieces; /* lost to another member: there may be more */
    }
    fm_status status = run(context, piece, scratch + member * stride);
    if (status != FM_OK) {
        atomic_store_explicit(&team->status, (int)status, memory_order_relaxed);
    }
    (void)atomic_fetch_add_explicit(&team->n_done, 1, memory_order_release);
    return true;
}

static fm_status team_run(fm_team *base, size_t n_pieces, fm_piece_run run, void *context)
{
    fm_call_team *team = (fm_call_team *)base;
    uint_fast64_t round = (atomic_load_explicit(&team->next, memory_order_relaxed) >> 32) + 1;
    /* No piece can be claimed while the fields change; each is released after this. */
    atomic_store_explicit(&team->next, round << 32 | NO_PIECE, memory_order_seq_cst);
    atomic_store_explicit(&team->n_done, 0, memory_order_relaxed);
    atomic_store_explicit(&team->status, FM_OK, memory_order_relaxed);
    atomic_store_explicit(&team->run, run, memory_order_release);
    atomic_store_explicit(&team->context, context, memory_order_release);
    atomic_store_explicit(&team->n_pieces, n_pieces, memory_order_release);
    atomic_store_explicit(&team->next, round << 32, memory_order_release);
    while (run_one(team, team->leader)) {
    }
    unsigned spins = 0;
    while (atomic_load_explicit(&team->n_done, memory_order_acquire) < n_pieces) {
        relax(&spins);
    }
    return (fm_status)atomic_load_explicit(&team->status, memory_order_relaxed);
}

void fm_call_team_open(fm_call_team *team, size_t n_members, unsigned char *scratch,
                       size_t scratch_stride, size_t leader)
{
    team->team = (fm_team){.n_members = n_members, .run = team_run};
    team->leader = leader;
    atomic_store_explicit(&team->scratch, scratch, memory_order_release);
    atomic_store_explicit(&team->scratch_stride, scratch_stride, memory_order_release);
    atomic_store_explicit(&team->open, true, memory_order_release);
}

void fm_call_team_close(fm_call_team *team)
{
    atomic_store_explicit(&team->open, false, memory_order_release);
}

void fm_call_team_help(fm_call_team *team, size_t helper, const atomic_size_t *n_offered)
{
    unsigned spins = 0;
    while (atomic_load_explicit(&team->open, memory_order_acquire) &&
           atomic_load_explicit(n_offered, memory_order_relaxed) == 0) {
        if (run_one(team, helper)) {
            spins = 0;
        } else {
            relax(&spins);
        }
    }
}
