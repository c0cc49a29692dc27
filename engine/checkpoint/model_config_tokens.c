/* What config.json says of tokens: how many there are, and the file of their names. */
#include "engine/checkpoint/file.h"
#include "engine/checkpoint/model_config_private.h"
#include "engine/checkpoint/utf8.h"
#include "engine/memory.h"

#include <string.h>

#define MAX_VOCABULARY ((size_t)1 << 24) /* the mask included; model_config_space.c */
#define MAX_NAME_BYTES ((size_t)64)
#define MAX_FILE_BYTES ((size_t)64 << 20)
#define MASK_NAME      "[MASK]" /* where the file does not say it */

/* ---- how many ---- */

static fm_status check_space(const fm_json_node *network, const fm_model_config *config,
                             fm_error *err)
{
    const fm_space_part *part = &config->space.parts[0];
    fm_json_node flow = fm_json_member(network->parent, "flow");
    fm_json_node space = fm_json_member(&flow, "space");
    fm_json_node representation = fm_json_member(&flow, "representation");
    if (config->space.is_product || part->id != FM_SPACE_TOKENS) {
        return fm_json_fail(&space, err, FM_EFORMAT, "must be tokens, which the network looks up");
    }
    if (part->representation != FM_REPRESENTATION_INDEX) {
        return fm_json_fail(&representation, err, FM_EFORMAT,
                            "must be index: the network looks tokens up");
    }
    return FM_OK;
}

/* A mask that the source draws must be there, and one that is there is drawn by no other source. */
static fm_status check_mask(const fm_json_node *node, const fm_model_config *config, fm_error *err)
{
    fm_source_id source = config->space.parts[0].source.id;
    if (source == FM_SOURCE_MASK && !config->masked) {
        return fm_json_fail(node, err, FM_EFORMAT, "must be true where /flow/source is mask");
    }
    if (source == FM_SOURCE_UNIFORM_TOKENS && config->masked) {
        return fm_json_fail(node, err, FM_EFORMAT,
                            "must be false where /flow/source is uniform_tokens, which would draw "
                            "the mask");
    }
    return FM_OK;
}

fm_status fm_model_config_read_tokens(const fm_json_node *network, fm_model_config *config,
                                      fm_error *err)
{
    size_t vocab_size = 0;
    fm_json_node size = fm_json_member(network, "vocab_size");
    fm_json_node masked = fm_json_member(network, "masked");
    fm_status status = check_space(network, config, err);
    if (status == FM_OK) {
        status = fm_json_require(&size, err);
    }
    if (status == FM_OK) {
        status = fm_json_read_size(&size, 2, MAX_VOCABULARY - 1, &vocab_size, err);
    }
    if (status == FM_OK) {
        status = fm_json_read_bool(&masked, &config->masked, err);
    }
    config->vocabulary_size = vocab_size + (config->masked ? 1 : 0);
    return status == FM_OK ? check_mask(&masked, config, err) : status;
}

/* ---- their names ---- */

fm_status fm_model_config_read_vocabulary(const fm_json_node *output, fm_model_config *config,
                                          fm_error *err)
{
    fm_json_node node = fm_json_member(output, "vocabulary");
    fm_json_node kind = fm_json_member(output, "kind");
    bool is_tokens = strcmp(config->output_kind, "tokens") == 0;
    if (is_tokens && config->vocabulary_size == 0) {
        return fm_json_fail(&kind, err, FM_EFORMAT, "must be tokens only where /flow/space is");
    }
    if (!fm_json_present(&node)) {
        return FM_OK;
    }
    if (!is_tokens) {
        return fm_json_fail(&node, err, FM_EFORMAT,
                            "must be left out where /output/kind is not tokens");
    }
    fm_status status = fm_json_read_string(&node, &config->vocabulary_file, err);
    if (status == FM_OK && !fm_file_name_is_local(config->vocabulary_file)) {
        status =
            fm_json_fail(&node, err, FM_EFORMAT, "must be a file of the same folder, found \"%s\"",
                         config->vocabulary_file);
    }
    return status;
}

static size_t count_lines(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        count += text[i] == '\n';
    }
    return count + (length > 0 && text[length - 1] != '\n' ? 1 : 0);
}

/* Whether the bytes are text without U+0000. */
static bool is_text(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t n =
            bytes[i] == '\0' ? 0 : fm_utf8_length((const unsigned char *)bytes + i, length - i);
        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

/* Cuts the text into lines in place, with a NUL behind each. */
static fm_status cut_lines(char *text, size_t length, char **lines, fm_error *err)
{
    size_t number = 0;
    for (size_t begin = 0; begin < length; number++) {
        const char *end = memchr(text + begin, '\n', length - begin);
        size_t bytes = end == NULL ? length - begin : (size_t)(end - text) - begin;
        if (bytes > MAX_NAME_BYTES) {
            return fm_fail(err, FM_EFORMAT,
                           "line %zu: a token's name must have at most %zu bytes, found %zu",
                           number + 1, MAX_NAME_BYTES, bytes);
        }
        if (!is_text(text + begin, bytes)) {
            return fm_fail(err, FM_EFORMAT, "line %zu: a token's name must be UTF-8 without U+0000",
                           number + 1);
        }
        lines[number] = text + begin;
        text[begin + bytes] = '\0';
        begin += bytes + 1;
    }
    return FM_OK;
}

/* The file, a NUL, and the mask's name, so that all names are in one block. */
static fm_status read_text(const fm_model_config *config, char **ret, size_t *ret_length,
                           fm_error *err)
{
    char *path = fm_file_path(config->folder, config->vocabulary_file);
    if (path == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a path");
    }
    char *text = NULL;
    size_t length = 0;
    fm_status status = fm_file_read(path, MAX_FILE_BYTES, &text, &length, err);
    fm_free(path);
    if (status != FM_OK) {
        return status;
    }
    char *grown = fm_grow(text, length, length + 1 + sizeof MASK_NAME);
    if (grown == NULL) {
        fm_free(text);
        return fm_fail(err, FM_ENOMEM, "no memory for the names of tokens");
    }
    memcpy(grown + length + 1, MASK_NAME, sizeof MASK_NAME);
    *ret = grown;
    *ret_length = length;
    return FM_OK;
}

static fm_status take_lines(fm_model_config *config, char *text, size_t length, fm_error *err)
{
    size_t size = config->vocabulary_size, n_lines = count_lines(text, length);
    bool lacks_mask = config->masked && n_lines + 1 == size;
    if (n_lines != size && !lacks_mask) {
        return fm_fail(err, FM_EFORMAT, "must have %zu lines, one a token%s, found %zu", size,
                       config->masked ? ", or one less without the mask" : "", n_lines);
    }
    char **lines = fm_alloc_array(size, sizeof *lines);
    if (lines == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for the names of %zu tokens", size);
    }
    fm_status status = cut_lines(text, length, lines, err);
    if (status != FM_OK) {
        fm_free((void *)lines);
        return status;
    }
    if (lacks_mask) {
        lines[size - 1] = text + length + 1;
    }
    config->vocabulary = lines;
    return FM_OK;
}

fm_status fm_model_config_load_vocabulary(fm_model_config *config, fm_error *err)
{
    if (config->vocabulary_file == NULL) {
        return FM_OK;
    }
    char *text = NULL;
    size_t length = 0;
    fm_status status = read_text(config, &text, &length, err);
    if (status == FM_OK) {
        status = take_lines(config, text, length, err);
        if (status != FM_OK) {
            fm_free(text);
        }
    }
    return status == FM_OK ? FM_OK : fm_fail_prefix(err, status, "/output/vocabulary");
}
