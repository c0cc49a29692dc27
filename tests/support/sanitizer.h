/* Whether a sanitizer watches this build, which makes it many times slower: for tests that then do less of the same. */
#ifndef TESTS_SANITIZER_H
#define TESTS_SANITIZER_H

#if defined(__has_feature) /* Clang */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TESTS_SANITIZED true
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* GCC */
#define TESTS_SANITIZED true
#endif

#ifndef TESTS_SANITIZED
#define TESTS_SANITIZED false
#endif

#endif
