/* What superposition.c makes of a network's intensities. For engine/solve and its tests.
 *
 * Along x = t x1 + (1 - t) x0 the law of a state given x1 changes by dp/dt = -k p / (1 - t)^3 with
 * k(x) = x^2 - (1 + t) x x1 + t x1^2 - (1 - t)^2 (in units of the source's standard deviation), so that jumps away at the
 * rate [k]+ / (1 - t)^3, and to where k is negative in proportion to [k]- p, keep it. The network tells the numerator.
 * Source: Holderrieth et al., arXiv:2410.20587, section 5 and appendix (jump model of the CondOT path). */
#ifndef FM_SUPERPOSITION_H
#define FM_SUPERPOSITION_H

/* The rate's numerator that an output stands for: log(1 + e^output), which is positive. */
double fm_superposition_numerator(double output);

/* The probability that a state which stays where it is has jumped between t and s, t < s < 1, at the rate
 * weight numerator / (1 - u)^3 at time u: 1 - exp(-weight numerator (1/(1-s)^2 - 1/(1-t)^2) / 2). */
double fm_superposition_jumps(double weight, double numerator, double t, double s);

#endif
