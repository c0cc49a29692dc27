#include "config/address.h"

#include <stdlib.h>
#include <string.h>

static fm_status parse_unix(const char *path, fmc_address *ret, fm_error *err)
{
    size_t length = strlen(path);
    if (length == 0) {
        return fm_fail(err, FM_EINVAL, "must be unix:PATH with a path");
    }
    if (length > FMC_ADDRESS_MAX_PATH) {
        return fm_fail(err, FM_EINVAL, "has a socket path longer than %d bytes",
                       FMC_ADDRESS_MAX_PATH);
    }
    *ret = (fmc_address){.is_unix = true};
    memcpy(ret->path, path, length + 1);
    return FM_OK;
}

static fm_status parse_port(const char *text, uint16_t *ret, fm_error *err)
{
    size_t length = strspn(text, "0123456789");
    unsigned long port = length > 0 && length <= 5 ? strtoul(text, NULL, 10) : 65536;
    if (text[length] != '\0' || port > 65535) {
        return fm_fail(err, FM_EINVAL, "must end in a port from 0 to 65535");
    }
    *ret = (uint16_t)port;
    return FM_OK;
}

fm_status fmc_address_parse(const char *text, fmc_address *ret, fm_error *err)
{
    if (strncmp(text, "unix:", 5) == 0) {
        return parse_unix(text + 5, ret, err);
    }
    const char *host = text, *colon = strrchr(text, ':');
    size_t host_length = colon == NULL ? 0 : (size_t)(colon - text);
    if (colon == NULL) {
        return fm_fail(err, FM_EINVAL, "must be HOST:PORT, [IPv6]:PORT or unix:PATH");
    }
    if (text[0] == '[') {
        if (host_length < 2 || text[host_length - 1] != ']') {
            return fm_fail(err, FM_EINVAL, "must be [IPv6]:PORT when it begins with a bracket");
        }
        host = text + 1;
        host_length -= 2;
    } else if (memchr(text, ':', host_length) != NULL) {
        return fm_fail(err, FM_EINVAL, "must have brackets around an IPv6 address");
    }
    if (host_length >= FMC_ADDRESS_MAX_HOST) {
        return fm_fail(err, FM_EINVAL, "has a host longer than %d bytes", FMC_ADDRESS_MAX_HOST - 1);
    }
    fmc_address address = {.is_unix = false};
    fm_status status = parse_port(colon + 1, &address.port, err);
    if (status != FM_OK) {
        return status;
    }
    memcpy(address.host, host, host_length);
    *ret = address;
    return FM_OK;
}
