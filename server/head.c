#include "server/head.h"

#include <stddef.h>
#include <string.h>

static bool number_parse(const char *text, uint64_t *ret)
{
    uint64_t number = 0;
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(number, (uint64_t)10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number)) {
            return false;
        }
    }
    *ret = number;
    return true;
}

static bool has_control(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if ((*c < 0x20 && *c != '\t') || *c == 0x7f) {
            return true;
        }
    }
    return false;
}

/* RFC 9110, 5.6.2: a name with a blank before its colon is none, and hides a header from one of two. */
static bool is_token(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "!#$%&'*+-.^_`|~";
    return text[0] != '\0' && text[strspn(text, allowed)] == '\0';
}

static void keep_first(const char **slot, const char *value)
{
    *slot = *slot == NULL ? value : *slot;
}

void fmd_head_add(fmd_head *head, const char *name, const char *value)
{
    value = value == NULL ? "" : value;
    head->bad_value = head->bad_value || !is_token(name) || has_control(value);
    if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0) {
        head->n_hosts++;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
        head->n_lengths++;
        head->length_is_number = number_parse(value, &head->length);
    } else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        head->n_codings++;
        head->coding_is_chunked = strcasecmp(value, "chunked") == 0;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_ENCODING) == 0) {
        head->is_encoded = head->is_encoded || strcasecmp(value, "identity") != 0;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_EXPECT) == 0) {
        head->expects_continue = strcasecmp(value, "100-continue") == 0;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_ACCEPT) == 0) {
        keep_first(&head->accept, value);
    } else if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_TYPE) == 0) {
        keep_first(&head->content_type, value);
    } else if (strcasecmp(name, "X-Request-Id") == 0) {
        keep_first(&head->request_id, value);
    }
}

static enum MHD_Result add_value(void *context, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)kind;
    fmd_head_add(context, name, value);
    return MHD_YES;
}

void fmd_head_read(struct MHD_Connection *connection, fmd_head *ret)
{
    *ret = (fmd_head){.n_hosts = 0};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, add_value, ret);
}

static bool method_is_known(const char *method)
{
    static const char *const known[] = {"GET",   "HEAD",    "POST",  "PUT",    "DELETE",
                                        "PATCH", "OPTIONS", "TRACE", "CONNECT"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(method, known[i]) == 0) {
            return true;
        }
    }
    return false;
}

const char *fmd_head_fault(const fmd_head *head, const char *method, const char *version)
{
    bool is_1_1 = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    if (!is_1_1 && strcmp(version, MHD_HTTP_VERSION_1_0) != 0) {
        return "only HTTP/1.0 and HTTP/1.1 are spoken here";
    }
    if (!method_is_known(method)) {
        return "unknown method";
    }
    if (head->bad_value) {
        return "a header has a name or a value that is none";
    }
    if (head->n_hosts > 1 || (is_1_1 && head->n_hosts == 0)) {
        return "exactly one Host header is needed";
    }
    if (head->n_lengths > 0 && head->n_codings > 0) {
        return "Content-Length and Transfer-Encoding exclude each other";
    }
    if (head->n_lengths > 1 || (head->n_lengths == 1 && !head->length_is_number)) {
        return "Content-Length must be one whole number";
    }
    if (head->n_codings > 1 || (head->n_codings == 1 && (!head->coding_is_chunked || !is_1_1))) {
        return "the only Transfer-Encoding spoken here is chunked, in HTTP/1.1";
    }
    return NULL;
}
