/* Idle workers help with a network call that is the only work there is: the team behind fm_team.
 *
 * The worker that leads the call opens its team; workers without rows of their own join and claim
 * pieces until the call ends or rows are on offer. Pieces are handed out by one counter that carries a
 * generation, so a member that comes late for one round cannot take a piece of the next. */
#ifndef FM_CALL_TEAM_H
#define FM_CALL_TEAM_H

#include "engine/network/team.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct fm_call_team {
    fm_team team;     /* first: what the network is given */
    size_t leader;    /* its index */
    atomic_bool open; /* a call is in progress */
    /* Of the call's model, [workers][scratch_stride]. A helper that is late for one call may serve the next, so every
     * member finds its scratch with the piece, and brings none. */
    _Atomic(unsigned char *) scratch;
    atomic_size_t scratch_stride;
    atomic_uint_fast64_t next; /* generation << 32 | next piece */
    /* One round: */
    atomic_size_t n_pieces, n_done;
    _Atomic(fm_piece_run) run;
    _Atomic(void *) context;
    atomic_int status; /* fm_status, the first failure */
} fm_call_team;

/* Leader: members may come until fm_call_team_close().
 *   n_members  the leader included
 *   scratch    [workers][scratch_stride], of the call's model
 *   leader     which of them it is */
void fm_call_team_open(fm_call_team *team, size_t n_members, unsigned char *scratch,
                       size_t scratch_stride, size_t leader);
void fm_call_team_close(fm_call_team *team);

/* Runs pieces until the team is closed or *n_offered is not 0.
 *   helper  which worker it is */
void fm_call_team_help(fm_call_team *team, size_t helper, const atomic_size_t *n_offered);

#endif
