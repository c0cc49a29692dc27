/* Eigenvalues of small symmetric matrices, by cyclic Jacobi rotations in a fixed order: the same bits for the same matrix.
 * A LAPACK does the same, but brings threads of its own, for matrices of at most a few rows.
 * Source: Golub and Van Loan, "Matrix Computations", section 8.5. */
#ifndef FM_SYMMETRIC_H
#define FM_SYMMETRIC_H

#include <stddef.h>

/* a = q diag(values) q^T.
 *   a       [n][n] symmetric; overwritten
 *   values  [n], in no order
 *   q       [n][n], orthogonal; its columns are the eigenvectors */
void fm_symmetric_eigen(size_t n, double *a, double *values, double *q);

/* ret = q diag(values) q^T, [n][n]; may be none of the others. */
void fm_symmetric_compose(size_t n, const double *q, const double *values, double *ret);

/* ret = a b a, a and b symmetric, [n][n] each; scratch [n][n]; ret may be b. */
void fm_symmetric_sandwich(size_t n, const double *a, const double *b, double *scratch,
                           double *ret);

#endif
