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
    fm_team team;              /* first: what the network is given */
    unsigned char *memory;     /* the leader's scratch */
    atomic_bool open;          /* a call is in progress */
    atomic_uint_fast64_t next; /* generation << 32 | next piece */
    /* One round: */
    atomic_size_t n_pieces, n_done;
    _Atomic(fm_piece_run) run;
    _Atomic(void *) context;
    atomic_int status; /* fm_status, the first failure */
} fm_call_team;

/* Leader: members may come until fm_call_team_close().
 *   n_members  the leader included */
void fm_call_team_open(fm_call_team *team, size_t n_members, unsigned char *memory);
void fm_call_team_close(fm_call_team *team);

/* Runs pieces until the team is closed or *n_offered is not 0.
 *   memory  the helper's own scratch for the leader's model */
void fm_call_team_help(fm_call_team *team, unsigned char *memory, const atomic_size_t *n_offered);

#endif
