/* Forgets the row macros after an expansion of options.def, so that the next may define its own.
 * No include guard: it is included once per expansion. */
#undef FMC_SECTION
#undef FMC_SECTION_END
#undef FMC_ADDRESSES
#undef FMC_PATH
#undef FMC_BOOLEAN
#undef FMC_CHOICE
#undef FMC_INTEGER
#undef FMC_SIZE
#undef FMC_DURATION
