/* Pools: pieces that are aligned, zero and their own, and end together. */
#include "engine/memory.h"
#include "tests/support/failing_memory.h"
#include "tests/unit/suites.h"

#include <string.h>

#define N_PIECES 300

START_TEST(pieces_are_aligned_and_zero_and_nobody_elses)
{
    fm_pool pool = {0};
    unsigned char *pieces[N_PIECES];
    size_t sizes[N_PIECES];
    for (size_t i = 0; i < N_PIECES; i++) {
        sizes[i] = i % 100 == 99 ? (size_t)5 << 20 : 1 + 97 * i; /* some larger than a chunk */
        pieces[i] = fm_pool_take(&pool, sizes[i]);
        ck_assert_ptr_nonnull(pieces[i]);
        ck_assert_uint_eq((uintptr_t)pieces[i] % FM_ALIGNMENT, 0);
        size_t count = 0;
        for (size_t k = 0; k < sizes[i]; k++) {
            count += pieces[i][k] != 0;
        }
        ck_assert_uint_eq(count, 0);
        memset(pieces[i], (int)(i % 255) + 1, sizes[i]);
    }
    for (size_t i = 0; i < N_PIECES; i++) {
        ck_assert_uint_eq(pieces[i][0], i % 255 + 1);
        ck_assert_uint_eq(pieces[i][sizes[i] - 1], i % 255 + 1);
    }
    fm_pool_done(&pool);
    ck_assert_ptr_null(pool.last);
    ck_assert_uint_eq(pool.size_bytes, 0);
}
END_TEST

START_TEST(a_pool_takes_little_more_than_its_pieces)
{
    fm_pool pool = {0};
    size_t taken = 0;
    for (size_t i = 0; i < 1000; i++, taken += (size_t)100 << 10) {
        ck_assert_ptr_nonnull(fm_pool_take(&pool, (size_t)100 << 10));
    }
    ck_assert_uint_ge(pool.size_bytes, taken);
    ck_assert_uint_le(pool.size_bytes, 2 * taken);
    fm_pool_done(&pool);
}
END_TEST

START_TEST(a_pool_without_memory_says_so_and_keeps_what_it_has)
{
    fm_pool pool = {0};
    unsigned char *first = fm_pool_take(&pool, 1);
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(fm_pool_take(&pool, SIZE_MAX));
    ck_assert_ptr_null(fm_pool_take(&pool, SIZE_MAX / 2));
    for (size_t k = 0; k < 2; k++) { /* the chunk's own record, then its memory */
        failing_memory_start(k);
        ck_assert_ptr_null(fm_pool_take(&pool, (size_t)64 << 20));
        ck_assert(failing_memory_stop());
    }
    *first = 1;
    ck_assert_ptr_nonnull(fm_pool_take(&pool, (size_t)64 << 20));
    ck_assert_uint_eq(*first, 1);
    fm_pool_done(&pool);
}
END_TEST

Suite *suite_engine_memory(void)
{
    Suite *suite = suite_create("engine/memory");
    TCase *tcase = tcase_create("pool");
    tcase_add_test(tcase, pieces_are_aligned_and_zero_and_nobody_elses);
    tcase_add_test(tcase, a_pool_takes_little_more_than_its_pieces);
    tcase_add_test(tcase, a_pool_without_memory_says_so_and_keeps_what_it_has);
    suite_add_tcase(suite, tcase);
    return suite;
}
