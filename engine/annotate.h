/* Compiler contracts: results that must be used, printf formats, and clang's thread-safety roles. */
#ifndef FM_ANNOTATE_H
#define FM_ANNOTATE_H

#if defined(__GNUC__)
#define FM_MUST_USE __attribute__((warn_unused_result))
#define FM_PRINTF(format_index, first_index)                                                       \
    __attribute__((format(printf, format_index, first_index)))
#define FM_ALIGNED(bytes) __attribute__((aligned(bytes)))
#else
#define FM_MUST_USE
#define FM_PRINTF(format_index, first_index)
#define FM_ALIGNED(bytes)
#endif

/* Function-level capabilities work with every clang; field-level guards need clang 19 and the
 * exact spelling FM_GUARDED_BY(&mutex) with the mutex declared before the field. */
#if defined(__clang__)
#define FM_CAPABILITY(name) __attribute__((capability(name)))
#define FM_REQUIRES(...)    __attribute__((requires_capability(__VA_ARGS__)))
#define FM_EXCLUDES(...)    __attribute__((locks_excluded(__VA_ARGS__)))
#define FM_ACQUIRES(...)    __attribute__((acquire_capability(__VA_ARGS__)))
#define FM_RELEASES(...)    __attribute__((release_capability(__VA_ARGS__)))
#define FM_ASSERTS(...)     __attribute__((assert_capability(__VA_ARGS__)))
#define FM_NO_THREAD_SAFETY __attribute__((no_thread_safety_analysis))
#else
#define FM_CAPABILITY(name)
#define FM_REQUIRES(...)
#define FM_EXCLUDES(...)
#define FM_ACQUIRES(...)
#define FM_RELEASES(...)
#define FM_ASSERTS(...)
#define FM_NO_THREAD_SAFETY
#endif

#if defined(__clang__) && __clang_major__ >= 19
#define FM_GUARDED_BY(mutex) __attribute__((guarded_by(mutex)))
#else
#define FM_GUARDED_BY(mutex)
#endif

#endif
