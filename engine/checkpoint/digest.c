/* SHA-256 over files, streamed. Each file enters as the lengths of its name and content (8 bytes
 * little-endian each), the name, then the content, so no two lists of files give the same bytes. */
#include "engine/checkpoint/digest.h"

#include "engine/checkpoint/file.h"
#include "engine/memory.h"

#include <assert.h>
#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t)1 << 16)

static void hash_length(struct sha256_ctx *hash, size_t length)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
    }
    sha256_update(hash, sizeof bytes, bytes);
}

/* Exactly size_bytes from descriptor; a file that shrinks meanwhile is an error. */
static fm_status hash_content(struct sha256_ctx *hash, int descriptor, const char *path,
                              size_t size_bytes, unsigned char *chunk, fm_error *err)
{
    while (size_bytes > 0) {
        ssize_t got = read(descriptor, chunk, size_bytes < CHUNK_BYTES ? size_bytes : CHUNK_BYTES);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return fm_fail(err, FM_EIO, "%s: cannot read the last %zu bytes", path, size_bytes);
        }
        sha256_update(hash, (size_t)got, chunk);
        size_bytes -= (size_t)got;
    }
    return FM_OK;
}

static fm_status hash_file(struct sha256_ctx *hash, const char *folder, const char *name,
                           unsigned char *chunk, fm_error *err)
{
    char *path = fm_file_path(folder, name);
    if (path == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a path");
    }
    size_t size_bytes = 0;
    int descriptor = -1;
    fm_status status = fm_file_open(path, &size_bytes, &descriptor, err);
    if (status == FM_OK) {
        hash_length(hash, strlen(name));
        hash_length(hash, size_bytes);
        sha256_update(hash, strlen(name), (const uint8_t *)name);
        status = hash_content(hash, descriptor, path, size_bytes, chunk, err);
        (void)close(descriptor);
    }
    fm_free(path);
    return status;
}

static void format_digest(struct sha256_ctx *hash, char ret[FM_DIGEST_TEXT_BYTES])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(hash, sizeof digest, digest);
    int used = snprintf(ret, FM_DIGEST_TEXT_BYTES, "sha256:");
    for (size_t i = 0; i < sizeof digest; i++) {
        used += snprintf(ret + used, FM_DIGEST_TEXT_BYTES - (size_t)used, "%02x", digest[i]);
    }
    assert(used == FM_DIGEST_TEXT_BYTES - 1);
}

fm_status fm_digest_files(const char *folder, const char *const *files, size_t n_files,
                          char ret[FM_DIGEST_TEXT_BYTES], fm_error *err)
{
    unsigned char *chunk = fm_alloc(CHUNK_BYTES);
    if (chunk == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory to read files");
    }
    struct sha256_ctx hash;
    sha256_init(&hash);
    fm_status status = FM_OK;
    for (size_t i = 0; status == FM_OK && i < n_files; i++) {
        status = hash_file(&hash, folder, files[i], chunk, err);
    }
    if (status == FM_OK) {
        format_digest(&hash, ret);
    }
    fm_free(chunk);
    return status;
}

fm_status fm_digest_model(const fm_model_config *config, const fm_tensors *tensors,
                          char ret[FM_DIGEST_TEXT_BYTES], fm_error *err)
{
    size_t n_weights = tensors == NULL ? 0 : fm_tensors_file_count(tensors);
    const char **files = fm_alloc_array(n_weights + 3, sizeof *files);
    if (files == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu file names", n_weights + 3);
    }
    size_t n_files = 0;
    files[n_files++] = "config.json";
    for (size_t i = 0; i < n_weights; i++) {
        files[n_files++] = fm_tensors_file_at(tensors, i);
    }
    if (config->architecture == FM_ARCHITECTURE_DATASET) {
        files[n_files++] = config->dataset.file;
    }
    if (config->vocabulary_file != NULL) {
        files[n_files++] = config->vocabulary_file;
    }
    fm_status status = fm_digest_files(config->folder, files, n_files, ret, err);
    fm_free((void *)files);
    return status;
}
