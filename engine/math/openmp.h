/* The two calls of OpenMP that oneDNN's threads are held by; libgomp's, without its header, which only
 * the compiler it came with finds. */
#ifndef FM_OPENMP_H
#define FM_OPENMP_H

/* Both speak of the calling thread alone. */
void omp_set_num_threads(int n_threads);
int omp_get_max_threads(void);

#endif
