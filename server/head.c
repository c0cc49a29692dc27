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

/* Content-Length and Transfer-Encoding with something behind them: what a folded value makes of them. */
static bool is_prolonged(const char *name)
{
    static const char *const framing[] = {MHD_HTTP_HEADER_CONTENT_LENGTH,
                                          MHD_HTTP_HEADER_TRANSFER_ENCODING};
    for (size_t i = 0; i < sizeof framing / sizeof framing[0]; i++) {
        size_t length = strlen(framing[i]);
        if (strncasecmp(name, framing[i], length) == 0 && name[length] != '\0') {
            return true;
        }
    }
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Of a text that libmicrohttpd ended with NULs in place of CR and LF. In place of a line feed alone there
 * is one NUL, and the next line follows. */
static bool ends_in_crlf(const char *text)
{
    return text[strlen(text) + 1] == '\0';
}

/* A name that was prolonged moves to a place of its own, behind the buffer, or grows over its value's
 * beginning. At the buffer's end it may grow over blanks before the value instead: only the next line
 * tells that. */
bool fmd_head_is_one_line(const char *name, const char *value)
{
    const char *between = name + strlen(name) + 1;
    if ((uintptr_t)value < (uintptr_t)between) {
        return false;
    }
    while (between != value && is_blank(*between)) {
        between++;
    }
    return between == value && ends_in_crlf(value) && !is_blank(value[strlen(value) + 2]);
}

static void keep_first(const char **slot, const char *value)
{
    *slot = *slot == NULL ? value : *slot;
}

void fmd_head_add(fmd_head *head, const char *name, const char *value)
{
    value = value == NULL ? "" : value;
    head->bad_name = head->bad_name || !is_token(name) || is_prolonged(name);
    head->bad_value = head->bad_value || has_control(value);
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
    fmd_head *head = context;
    head->bad_line = head->bad_line || value == NULL || !fmd_head_is_one_line(name, value);
    fmd_head_add(head, name, value);
    return MHD_YES;
}

void fmd_head_read(struct MHD_Connection *connection, const char *version, fmd_head *ret)
{
    *ret = (fmd_head){.bad_line = !ends_in_crlf(version)};
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
    if (head->bad_line) {
        return "request line and headers must each be one line that ends in CR LF";
    }
    if (head->bad_name) {
        return "a header's name is no token, or goes on behind Content-Length or Transfer-Encoding";
    }
    if (head->bad_value) {
        return "a header's value holds a control character";
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
